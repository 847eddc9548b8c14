//! Place of the SQL front end (planned): a query becomes the same checked job that a TOML description becomes. Its engine will be
//! a package of its own, outside of the default members.
