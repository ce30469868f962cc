//! Named places between two durable steps, at which a process may be made to die: nothing must be lost by it.
//!
//! Here is only the hook that such a place calls; whoever installs one decides what happens. Builds without debug assertions
//! have neither the hook nor the calls.

#[cfg(debug_assertions)]
use std::sync::OnceLock;

#[cfg(debug_assertions)]
type Hook = Box<dyn Fn(&'static str) + Send + Sync>;

#[cfg(debug_assertions)]
static HOOK: OnceLock<Hook> = OnceLock::new();

/// The process is at the place of this name. Each name stands at one place.
#[inline]
pub fn reached(name: &'static str) {
    #[cfg(debug_assertions)]
    if let Some(hook) = HOOK.get() {
        hook(name);
    }
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// Has `hook` called at each place from now on; false if there is one already, which stays.
#[cfg(debug_assertions)]
pub fn install(hook: impl Fn(&'static str) + Send + Sync + 'static) -> bool {
    HOOK.set(Box::new(hook)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    static SEEN: Mutex<Vec<&str>> = Mutex::new(Vec::new());

    #[test]
    fn the_first_hook_is_called_and_stays() {
        reached("before");
        assert!(install(|name| SEEN.lock().unwrap().push(name)));
        assert!(!install(|_| {}));
        reached("after");
        assert_eq!(*SEEN.lock().unwrap(), ["after"]);
    }
}
