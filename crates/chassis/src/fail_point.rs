//! Dying at a fail point, as `SANDGATE_FAIL_POINT=<name>[:<nth>]` asks for: with the signal that can't be handled, so that
//! nothing is tidied up.

use crate::{Environment, Error};

const VARIABLE: &str = "SANDGATE_FAIL_POINT";

/// Sees to it that this process is killed when it reaches the fail point that the environment names, for the nth time.
///
/// # Errors
/// If the variable does not name a point and a number from 1, or this build has no fail points.
pub fn arm_fail_point(environment: &Environment) -> Result<(), Error> {
    let Some(text) = environment.text(VARIABLE) else { return Ok(()) };
    let (name, nth) = parse(text)?;
    arm(name, nth)
}

fn parse(text: &str) -> Result<(&str, u32), Error> {
    let (name, nth) = text.split_once(':').unwrap_or((text, "1"));
    match nth.parse() {
        Ok(nth) if nth > 0 => Ok((name, nth)),
        _ => Err(fault(format!("`{nth}` is not how many times a place is passed; give 1 or more"))),
    }
}

#[cfg(debug_assertions)]
fn arm(name: &str, nth: u32) -> Result<(), Error> {
    use std::sync::atomic::{AtomicU32, Ordering};

    let (name, left) = (name.to_owned(), AtomicU32::new(nth));
    let installed = sandgate_domain::fail_point::install(move |reached| {
        if reached == name && left.fetch_sub(1, Ordering::SeqCst) == 1 {
            die(reached);
        }
    });
    if installed { Ok(()) } else { Err(fault("a fail point is armed already")) }
}

#[cfg(not(debug_assertions))]
fn arm(_name: &str, _nth: u32) -> Result<(), Error> {
    Err(fault("this build has no fail points; unset it, or use a build with debug assertions"))
}

#[cfg(debug_assertions)]
fn die(name: &str) {
    eprintln!("killed at the fail point {name}");
    let this = rustix::process::getpid();
    // It does not come back from this; a system that refuses it to a process's own id does not exist.
    if let Err(errno) = rustix::process::kill_process(this, rustix::process::Signal::KILL) {
        eprintln!("could not die at the fail point {name}: {errno}");
    }
}

fn fault(message: impl Into<String>) -> Error {
    Error::Config { place: VARIABLE.to_owned(), message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_named_with_a_number_or_without() {
        for (text, expected) in [
            ("relay.taken", Some(("relay.taken", 1))),
            ("relay.taken:3", Some(("relay.taken", 3))),
            ("relay.taken:0", None),
            ("relay.taken:", None),
            ("relay.taken:x", None),
        ] {
            assert_eq!(parse(text).ok(), expected, "{text}");
        }
    }
}
