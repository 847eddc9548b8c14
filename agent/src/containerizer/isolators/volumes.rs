//! Persistent volumes appear in the sandbox: as a link, which any user can make on any host. That a task may only read a volume is
//! not enforced like this.

use std::io;
use std::path::Path;

use super::Isolator;
use crate::containerizer::start::Start;
use crate::layout::Layout;
use crate::supervise::records::Spec;
use crate::volumes;

pub(super) struct Volumes;

impl Isolator for Volumes {
    fn prepare(&self, layout: &Layout, start: &Start, spec: &mut Spec) -> io::Result<()> {
        volumes::show(layout, &start.resources, &[], Path::new(&spec.sandbox))
    }
}
