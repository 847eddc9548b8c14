//! Bugs that can be brought back one at a time, to see that the simulation notices them.
//!
//! Owns their names and whether one is on. In a program none ever is: what asks is compiled to `false` there.

/// One bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(
    not(any(test, feature = "simulation")),
    expect(dead_code, unreachable_pub, reason = "without a simulation nobody names them")
)]
pub enum Mutant {
    /// Entries and votes are confirmed before they are durable.
    TellBeforeSync,
    /// A vote is kept in memory only.
    VoteInMemory,
    /// Entries that another leader replaced stay on the disk.
    ForgetTruncate,
    /// A command takes effect in another term than the one it was proposed under.
    IgnoreTerm,
    /// A replica goes on to report that it leads when no quorum answers.
    LeadAlone,
    /// A read is answered without asking a quorum.
    ReadAlone,
    /// A command whose entry was replaced counts as refused, although it may be committed elsewhere.
    RefuseReplaced,
    /// A snapshot that a peer sent is kept but not given to the state machine.
    SkipInstall,
    /// After a start, the place of the snapshot in the log is forgotten.
    ForgetPlace,
}

#[cfg(any(test, feature = "simulation"))]
impl Mutant {
    /// All of them, each with its name on the command line.
    pub const ALL: &[(Mutant, &str)] = &[
        (Mutant::TellBeforeSync, "tell-before-sync"),
        (Mutant::VoteInMemory, "vote-in-memory"),
        (Mutant::ForgetTruncate, "forget-truncate"),
        (Mutant::IgnoreTerm, "ignore-term"),
        (Mutant::LeadAlone, "lead-alone"),
        (Mutant::ReadAlone, "read-alone"),
        (Mutant::RefuseReplaced, "refuse-replaced"),
        (Mutant::SkipInstall, "skip-install"),
        (Mutant::ForgetPlace, "forget-place"),
    ];
}

/// Whether this bug is on in the run of this thread.
#[cfg(any(test, feature = "simulation"))]
pub(crate) fn on(mutant: Mutant) -> bool {
    crate::simulation::mutant() == Some(mutant)
}

/// Whether this bug is on: never.
#[cfg(not(any(test, feature = "simulation")))]
pub(crate) const fn on(_mutant: Mutant) -> bool {
    false
}
