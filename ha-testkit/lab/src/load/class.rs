use std::io;
use std::time::Duration;

/// One kind of request: a GET over a kept-alive connection, unless it is changed.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_lab::load::Class;
///
/// let short = Class::new("/orders", "orders ", 20);
/// let posted = Class::new("/orders?ms=20", "orders ", 5).as_post("a=1").closing();
/// let upgraded = Class::new("/echo", "echo ", 2).upgraded_for(Duration::from_millis(200));
/// # drop((short, posted, upgraded));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Class {
    /// Path and query.
    pub path: String,
    /// How the body of a right answer begins.
    pub expect: String,
    /// Its share: this many of the sum of all shares.
    pub share: u32,
    /// The body to POST; `None` for a GET.
    pub post: Option<String>,
    /// A connection of its own for each request, with `Connection: close`.
    pub closing: bool,
    /// For how long an upgraded connection is used, with an echo every 20 ms; `None` for plain HTTP.
    pub upgrade: Option<Duration>,
}

impl Class {
    /// Describes a kind of request.
    pub fn new(path: impl Into<String>, expect: impl Into<String>, share: u32) -> Self {
        let (path, expect) = (path.into(), expect.into());
        Self { path, expect, share, post: None, closing: false, upgrade: None }
    }

    /// Makes it a POST of `body`.
    #[must_use]
    pub fn as_post(mut self, body: impl Into<String>) -> Self {
        self.post = Some(body.into());
        self
    }

    /// Gives each request a connection of its own, with `Connection: close`.
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.closing = true;
        self
    }

    /// Makes it a websocket handshake on an echo path of a lab's server, used for `duration`. An upgraded connection
    /// that ends before counts as a truncated answer.
    #[must_use]
    pub fn upgraded_for(mut self, duration: Duration) -> Self {
        self.upgrade = Some(duration);
        self
    }
}

/// The kinds of a load, each as often as its share says, in a fixed order that spreads them.
#[derive(Clone, Debug)]
pub(super) struct Mix(Vec<Class>);

/// Spreads the classes over the sequence; coprime to any usual sum of shares.
const STRIDE: u64 = 7919;

impl Mix {
    /// # Errors
    /// When no class has a share.
    pub(super) fn new(classes: &[Class]) -> io::Result<Self> {
        let times = |class: &Class| usize::try_from(class.share).unwrap_or(0);
        let shares = classes.iter().flat_map(|class| std::iter::repeat_n(class.clone(), times(class)));
        let shares: Vec<Class> = shares.collect();
        if shares.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the load has no class with a share"));
        }
        Ok(Self(shares))
    }

    /// Returns the kind of the request with this number.
    pub(super) fn class(&self, number: u64) -> &Class {
        let place = number.wrapping_mul(STRIDE) % u64::try_from(self.0.len()).unwrap_or(1);
        &self.0[usize::try_from(place).unwrap_or(0)]
    }

    /// Returns one of `choices` in turn; the turn shifts with each round of the classes, so that each class meets all.
    pub(super) fn turn(&self, number: u64, choices: usize) -> usize {
        let shift = number / u64::try_from(self.0.len()).unwrap_or(1);
        let turn = number.wrapping_add(shift) % u64::try_from(choices).unwrap_or(1).max(1);
        usize::try_from(turn).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_class_has_its_share_and_meets_every_address() {
        let mix = Mix::new(&[Class::new("/a", "", 3), Class::new("/b", "", 1)]).unwrap();
        let mut met = BTreeMap::<(&str, usize), u32>::new();
        for number in 0..80 {
            *met.entry((&mix.class(number).path, mix.turn(number, 2))).or_default() += 1;
        }
        assert_eq!(met, BTreeMap::from([(("/a", 0), 30), (("/a", 1), 30), (("/b", 0), 10), (("/b", 1), 10)]));
    }

    #[test]
    fn a_load_without_a_share_is_refused() {
        assert!(Mix::new(&[Class::new("/a", "", 0)]).is_err());
    }
}
