//! Names to addresses, by the host's resolver. Requests that ask for the same name at the same time share one lookup;
//! nothing is kept beyond that.
//!
//! Package managers open dozens of connections to one registry at once, and resolvers drop such bursts of equal questions,
//! which costs seconds.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::net::lookup_host;
use tokio::sync::{OnceCell, Semaphore};

/// How many lookups run at the same time. A lookup holds a thread until the resolver answers, even if nobody waits for it
/// any more; a sandbox that asks for names of dead servers must not use up the threads of the whole process.
const LOOKUPS: usize = 32;

/// How many addresses of one name are considered.
const ADDRESSES: usize = 16;

type Answer = OnceCell<Vec<IpAddr>>;

/// The lookups of one sandbox.
#[derive(Debug)]
pub(crate) struct Lookups {
    turns: Arc<Semaphore>,
    running: Mutex<HashMap<String, Weak<Answer>>>,
}

impl Lookups {
    pub(crate) fn new() -> Self {
        Self { turns: Arc::new(Semaphore::new(LOOKUPS)), running: Mutex::default() }
    }

    /// The addresses of the name, at least one.
    pub(crate) async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.share(name, || self.ask(name)).await
    }

    /// Runs `lookup`, or waits for the one that runs for this name already. One that fails is not shared.
    async fn share<F>(&self, name: &str, lookup: impl FnOnce() -> F) -> io::Result<Vec<IpAddr>>
    where
        F: Future<Output = io::Result<Vec<IpAddr>>>,
    {
        let answer = self.answer_for(name);
        answer.get_or_try_init(lookup).await.cloned()
    }

    /// The answer that others wait for, or a new one; it is gone once nobody waits.
    fn answer_for(&self, name: &str) -> Arc<Answer> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = running.get(name).and_then(Weak::upgrade) {
            return answer;
        }
        running.retain(|_, answer| answer.strong_count() > 0);
        let answer = Arc::new(Answer::new());
        running.insert(name.to_owned(), Arc::downgrade(&answer));
        answer
    }

    async fn ask(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(io::Error::other)?;
        let name = name.to_owned();
        let lookup = tokio::spawn(async move {
            let found = lookup_host((name, 0)).await;
            drop(turn);
            found.map(|all| all.map(|address| address.ip()).take(ADDRESSES).collect())
        });
        let found: Vec<IpAddr> = lookup.await.map_err(io::Error::other)??;
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn equal_questions_at_the_same_time_are_asked_once_and_later_ones_again() {
        let lookups = Lookups::new();
        let (asked, answer) = (AtomicUsize::new(0), Notify::new());
        let one = || async {
            let number = asked.fetch_add(1, Ordering::SeqCst);
            answer.notified().await;
            Ok(vec![IpAddr::from([192, 0, 2, u8::try_from(number).unwrap()])])
        };
        let both = async {
            tokio::join!(lookups.share("a.example", one), lookups.share("a.example", one))
        };
        let (both, ()) = tokio::join!(both, async { answer.notify_one() });
        let first = vec![IpAddr::from([192, 0, 2, 0])];
        assert_eq!((both.0.unwrap(), both.1.unwrap()), (first.clone(), first));

        answer.notify_one();
        assert_eq!(lookups.share("a.example", one).await.unwrap(), [IpAddr::from([192, 0, 2, 1])]);
        assert_eq!(asked.into_inner(), 2);
    }

    #[tokio::test]
    async fn a_failure_is_not_shared_and_abandoned_questions_leave_nothing() {
        let lookups = Lookups::new();
        let fails = || async { Err(io::Error::other("no answer")) };
        let works = || async { Ok(vec![IpAddr::from([192, 0, 2, 7])]) };
        let both =
            tokio::join!(lookups.share("a.example", fails), lookups.share("a.example", works));
        assert!(both.0.is_err() && both.1.is_ok());

        for number in 0..100 {
            let name = format!("{number}.example");
            tokio::select! {
                biased;
                _ = lookups.share(&name, std::future::pending) => panic!("it never answers"),
                () = std::future::ready(()) => {}
            }
        }
        lookups.share("last.example", works).await.unwrap();
        assert!(lookups.running.lock().unwrap().len() <= 1);
    }

    #[tokio::test]
    async fn the_hosts_resolver_answers() {
        let lookups = Lookups::new();
        let found = lookups.addresses("localhost").await.unwrap();
        assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
        assert!(lookups.addresses("no-such-name.invalid").await.is_err());
    }
}
