//! Puts a driver together.

use tepui_proto::MediaType;
use thiserror::Error;
use tokio::sync::mpsc;

use super::driver::Driver;
use super::events::Events;
use super::handle::Handle;
use super::session::{Session, SessionConfig};
use crate::master_detector::MasterDetector;
use crate::transport::{SetupError, Transport};
use crate::v1;

/// Commands that may wait for the driver before the framework has to.
const COMMAND_QUEUE: usize = 256;
/// Events that may wait for the framework before the driver stops reading its stream.
const EVENT_QUEUE: usize = 256;

/// Why a driver cannot be made.
#[derive(Debug, Error)]
pub enum BuildError {
    /// At least one master must be named.
    #[error("no master is named")]
    NoMasters,
    /// The HTTP client could not be made.
    #[error(transparent)]
    Transport(#[from] SetupError),
}

/// Settings of a driver; begun with [`Driver::builder`].
#[derive(Debug)]
pub struct DriverBuilder {
    session: SessionConfig,
    masters: Vec<String>,
    media_type: MediaType,
    driver_token: Option<String>,
    manual: bool,
    seed: Option<u64>,
    transport: Option<Transport>,
}

impl DriverBuilder {
    pub(super) fn new(framework: v1::FrameworkInfo) -> Self {
        DriverBuilder {
            session: SessionConfig::new(framework),
            masters: Vec::new(),
            media_type: MediaType::Protobuf,
            driver_token: None,
            manual: false,
            seed: None,
            transport: None,
        }
    }

    /// Names the masters, `host:port`; any of them may lead.
    pub fn masters<S: Into<String>>(mut self, masters: impl IntoIterator<Item = S>) -> Self {
        self.masters = masters.into_iter().map(Into::into).collect();
        self
    }

    /// Chooses the encoding; protobuf unless said otherwise.
    pub fn media_type(mut self, media_type: MediaType) -> Self {
        self.media_type = media_type;
        self
    }

    /// Sends a supervised driver's token along.
    pub fn driver_token(mut self, token: impl Into<String>) -> Self {
        self.driver_token = Some(token.into());
        self
    }

    /// Leaves acknowledgements to the framework ([`Handle::acknowledge`]).
    pub fn manual_acknowledgements(mut self) -> Self {
        self.manual = true;
        self
    }

    /// Begins without offers for these roles.
    pub fn suppressed_roles<S: Into<String>>(mut self, roles: impl IntoIterator<Item = S>) -> Self {
        self.session.suppressed_roles = roles.into_iter().map(Into::into).collect();
        self
    }

    /// Changes the session's settings: waits, limits and times.
    pub fn tune(mut self, change: impl FnOnce(&mut SessionConfig)) -> Self {
        change(&mut self.session);
        self
    }

    /// Fixes the numbers that spread the waits; otherwise they are drawn.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Shares an HTTP client with other parts of the program.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Makes the driver, which does nothing until it is run, and the two ends for the framework.
    pub fn build(self) -> Result<(Driver, Handle, Events), BuildError> {
        if self.masters.is_empty() {
            return Err(BuildError::NoMasters);
        }
        let transport = match self.transport {
            Some(transport) => transport,
            None => Transport::new()?,
        };
        let session = Session::new(self.session, self.seed.unwrap_or_else(rand::random));
        let (command_sender, commands) = mpsc::channel(COMMAND_QUEUE);
        let (event_sender, events) = mpsc::channel(EVENT_QUEUE);
        let driver = Driver::new(
            session,
            transport,
            MasterDetector::new(self.masters),
            self.media_type,
            self.driver_token,
            commands,
            event_sender,
        );
        let events = Events::new(events, command_sender.clone(), self.manual);
        Ok((driver, Handle::new(command_sender), events))
    }
}
