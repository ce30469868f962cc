//! Objects that were read lately. Their names are digests of their contents, so nothing here is ever out of date.
//!
//! The key has the repository in it: a hostile one may answer anything for a name, and must not answer for others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Commit, ObjectId, Tree};

/// How much one generation may take, in bytes; there are two.
const MAX_GENERATION: usize = 6 << 20;
/// Larger objects are not kept, in bytes.
const MAX_OBJECT: usize = 512 << 10;
/// What an entry takes besides its object, in bytes.
const OVERHEAD: usize = 120;

/// The number of a repository; given once.
pub(crate) type Place = u64;

/// An object, parsed.
#[derive(Debug, Clone)]
pub(crate) enum Parsed {
    Commit(Arc<Commit>),
    Tree(Tree),
    Blob(Arc<[u8]>),
}

impl Parsed {
    fn weight(&self) -> usize {
        match self {
            Self::Commit(commit) => commit.weight(),
            Self::Tree(tree) => tree.weight(),
            Self::Blob(blob) => blob.len(),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<Generations>);

/// What is used moves into the young generation; when that is full it becomes the old one, and the old one goes.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<(Place, ObjectId), Parsed>,
    old: HashMap<(Place, ObjectId), Parsed>,
    weight: usize,
}

impl Cache {
    pub(crate) fn get(&self, place: Place, id: ObjectId) -> Option<Parsed> {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = generations.young.get(&(place, id)) {
            return Some(known.clone());
        }
        let known = generations.old.remove(&(place, id))?;
        generations.put(place, id, known.clone());
        Some(known)
    }

    pub(crate) fn put(&self, place: Place, id: ObjectId, object: Parsed) {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        generations.put(place, id, object);
    }
}

impl Generations {
    fn put(&mut self, place: Place, id: ObjectId, object: Parsed) {
        let weight = object.weight();
        if weight > MAX_OBJECT {
            return;
        }
        if self.weight + weight + OVERHEAD > MAX_GENERATION {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
        if self.young.insert((place, id), object).is_none() {
            self.weight += weight + OVERHEAD;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> ObjectId {
        format!("{number:040x}").parse().unwrap()
    }

    fn blob(bytes: usize) -> Parsed {
        Parsed::Blob(vec![0; bytes].into())
    }

    #[test]
    fn what_is_used_stays_and_the_bound_holds() {
        let cache = Cache::default();
        cache.put(1, id(0), blob(10));
        for number in 1..200 {
            cache.put(1, id(number), blob(400 << 10));
            assert!(cache.get(1, id(0)).is_some(), "{number}");
        }
        let generations = cache.0.lock().unwrap();
        let kept = generations.young.values().chain(generations.old.values());
        assert!(kept.map(Parsed::weight).sum::<usize>() <= 2 * MAX_GENERATION);
        assert!(!generations.young.contains_key(&(1, id(1))));
    }

    #[test]
    fn repositories_are_apart_and_large_objects_are_not_kept() {
        let cache = Cache::default();
        cache.put(1, id(0), blob(10));
        assert!(cache.get(2, id(0)).is_none());
        cache.put(1, id(1), blob(MAX_OBJECT + 1));
        assert!(cache.get(1, id(1)).is_none());
    }
}
