//! Which master to ask next. Owns the list and the hint that the last redirect gave.

/// Masters in the order in which they are asked.
pub(crate) struct Candidates {
    addresses: Vec<String>,
    next: usize,
    /// Where a master said that the leading one is; asked once, before the list goes on.
    hint: Option<String>,
}

impl Candidates {
    /// The list must not be empty.
    pub(crate) fn new(addresses: Vec<String>) -> Self {
        Self { addresses, next: 0, hint: None }
    }

    /// Goes on with this list; must not be empty.
    pub(crate) fn replace(&mut self, addresses: Vec<String>) {
        if addresses != self.addresses {
            *self = Self::new(addresses);
        }
    }

    /// Returns the master to be asked now.
    pub(crate) fn current(&self) -> &str {
        match &self.hint {
            Some(hint) => hint,
            None => self.addresses.get(self.next).map_or("", String::as_str),
        }
    }

    /// The leading master is said to be there.
    pub(crate) fn point_to(&mut self, address: String) {
        match self.addresses.iter().position(|known| *known == address) {
            Some(index) => {
                self.next = index;
                self.hint = None;
            }
            None => self.hint = Some(address),
        }
    }

    /// Gives the current one up. Returns whether the whole list was asked since the first one.
    pub(crate) fn advance(&mut self) -> bool {
        if self.hint.take().is_some() {
            return false;
        }
        self.next = (self.next + 1) % self.addresses.len().max(1);
        self.next == 0
    }
}

/// Returns `host:port` from the `Location` of a redirect: `//host:port/path` or with a scheme.
pub(crate) fn address_of(location: &str) -> Option<&str> {
    let rest = location.strip_prefix("http:").unwrap_or(location).strip_prefix("//")?;
    let address = rest.split(['/', '?']).next()?;
    let (host, port) = address.rsplit_once(':')?;
    (!host.is_empty() && port.parse::<u16>().is_ok()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_goes_round_and_a_hint_comes_first() {
        let mut candidates = Candidates::new(vec!["a:1".to_owned(), "b:2".to_owned()]);
        assert_eq!(candidates.current(), "a:1");
        assert!(!candidates.advance());
        assert_eq!(candidates.current(), "b:2");
        candidates.point_to("c:3".to_owned());
        assert_eq!(candidates.current(), "c:3");
        assert!(!candidates.advance());
        assert_eq!(candidates.current(), "b:2");
        assert!(candidates.advance());
        candidates.point_to("b:2".to_owned());
        assert_eq!(candidates.current(), "b:2");
    }

    #[test]
    fn locations_are_taken_apart() {
        let cases = [
            ("//10.0.0.1:5050/tepui/v1/agent", Some("10.0.0.1:5050")),
            ("http://host:1/x?y", Some("host:1")),
            ("//host:1", Some("host:1")),
            ("//host/x", None),
            ("//:1/x", None),
            ("/x", None),
            ("//host:99999/", None),
            ("", None),
        ];
        for (location, expected) in cases {
            assert_eq!(address_of(location), expected, "{location}");
        }
    }
}
