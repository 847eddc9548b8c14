//! What confines a container. Each isolator prepares before the command starts and cleans up after it ended; the order here
//! is the order of preparation. Cgroups, namespaces and images will join here.

mod posix;
mod volumes;

use std::io;

use crate::containerizer::start::Start;
use crate::layout::Layout;
use crate::supervise::records::Spec;

/// One kind of confinement.
pub(crate) trait Isolator: Send + Sync {
    /// Gets ready for a command, and may change how it is run.
    ///
    /// # Errors
    /// The command cannot be confined and must not start.
    fn prepare(&self, layout: &Layout, start: &Start, spec: &mut Spec) -> io::Result<()>;

    /// Takes back what preparation did; nothing of the command runs any more.
    fn clean_up(&self, _layout: &Layout, _container_id: &str) {}
}

/// Returns all isolators in their order.
pub(crate) fn all() -> Vec<Box<dyn Isolator>> {
    vec![Box::new(posix::Posix), Box::new(volumes::Volumes)]
}
