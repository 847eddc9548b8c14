//! Whole clusters of replicas in one process, over loopback, through the public surface only.

#[cfg(test)]
mod damage;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod greeting;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod levels;
#[cfg(test)]
mod life;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod members;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod snapshots;
