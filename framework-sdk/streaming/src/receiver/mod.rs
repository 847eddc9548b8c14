//! Place of the receivers (planned): long-running tasks for inputs that cannot be read again, with a write-ahead log on two
//! agents. A block is acknowledged to its source only once it is named there.
