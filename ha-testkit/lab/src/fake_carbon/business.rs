use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

/// A request that a server of the lab hands to the program's own part of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Asked {
    /// The home of the server.
    pub home: PathBuf,
    /// Its release.
    pub release: String,
    /// The path, without the query.
    pub path: String,
}

/// What is answered: an HTTP status and a text.
pub type Answered = (u16, String);

type Answering = Pin<Box<dyn Future<Output = Option<Answered>> + Send>>;

/// The program's own part of a server of the lab: what its services do, with a database say.
///
/// It is asked for every request that a ready server gets, its self-test `/selftest` among them, which fails with any status but
/// 200. `None` leaves the request to the server, as if there were no such part.
///
/// # Examples
///
/// ```no_run
/// use ha_lab::fake_carbon::{Business, run_if_asked_with};
///
/// run_if_asked_with(Business::new(|asked| async move {
///     (asked.path == "/orders").then(|| (200, format!("orders of {}", asked.release)))
/// }));
/// ```
#[derive(Clone)]
pub struct Business(Arc<dyn Fn(Asked) -> Answering + Send + Sync>);

impl Business {
    /// Answers with a function.
    pub fn new<F: Future<Output = Option<Answered>> + Send + 'static>(
        answer: impl Fn(Asked) -> F + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(move |asked| Box::pin(answer(asked))))
    }

    /// Has no part of its own.
    pub(super) fn none() -> Self {
        Self::new(|_| std::future::ready(None))
    }

    pub(super) async fn answer(&self, asked: Asked) -> Option<Answered> {
        (self.0)(asked).await
    }
}

impl fmt::Debug for Business {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Business").finish_non_exhaustive()
    }
}
