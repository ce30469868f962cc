//! The decision as a table, the texts as a table, and what holds whatever comes.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const GIB: u64 = 1 << 30;

fn share(cpu_millis: u64, memory_bytes: u64) -> Share {
    Share { cpu_millis, memory_bytes }
}

fn room() -> Room {
    let reserve_bytes = GIB;
    Room { slots: 4, share: share(4000, 8 * GIB), available_bytes: 6 * GIB, reserve_bytes }
}

fn under_way(steps: u32, cpu_millis: u64, memory_bytes: u64) -> UnderWay {
    UnderWay { own: steps, steps, share: share(cpu_millis, memory_bytes) }
}

#[test]
fn a_step_starts_if_it_fits_or_is_alone() {
    let (small, tight) = (share(1000, GIB), Room { available_bytes: GIB - 1, ..room() });
    let others = UnderWay { own: 0, ..under_way(9, 4000, GIB) };
    let cpu = |asks, free, steps| Err(Shortage::Cpu(Need { asks, free, all: 4000, steps }));
    let memory =
        |asks, free, steps| Err(Shortage::Memory(Need { asks, free, all: 8 * GIB, steps }));
    let machine = Err(Shortage::Machine { available_bytes: GIB - 1, reserve_bytes: GIB });
    for (what, asks, room, busy, expected) in [
        ("an empty machine", small, room(), under_way(0, 0, 0), Ok(())),
        ("too large, alone", share(9000, 99 * GIB), room(), under_way(0, 0, 0), Ok(())),
        ("alone on a full machine", small, tight, under_way(0, 0, 0), Ok(())),
        ("exactly what is left", share(3000, 7 * GIB), room(), under_way(1, 1000, GIB), Ok(())),
        (
            "a thousandth too much",
            share(3001, 0),
            room(),
            under_way(1, 1000, GIB),
            cpu(3001, 3000, 1),
        ),
        (
            "a byte too much",
            share(0, 7 * GIB + 1),
            room(),
            under_way(1, 0, GIB),
            memory(7 * GIB + 1, 7 * GIB, 1),
        ),
        ("beside one too large", small, room(), under_way(1, 9000, GIB), cpu(1000, 0, 1)),
        (
            "nothing, beside one too large",
            share(0, 0),
            room(),
            under_way(1, 9000, GIB),
            cpu(0, 0, 1),
        ),
        (
            "too large, not alone",
            share(9000, GIB),
            room(),
            under_way(2, 100, 0),
            cpu(9000, 3900, 2),
        ),
        ("no slot", small, room(), under_way(4, 0, 0), Err(Shortage::Slots { used: 4, slots: 4 })),
        (
            "all slots, and more",
            small,
            room(),
            under_way(5, 0, 0),
            Err(Shortage::Slots { used: 5, slots: 4 }),
        ),
        ("no memory left", small, tight, under_way(1, 0, 0), machine),
        (
            "just enough left",
            small,
            Room { available_bytes: GIB, ..room() },
            under_way(1, 0, 0),
            Ok(()),
        ),
        ("others have it", small, room(), others, cpu(1000, 0, 9)),
        (
            "sums beyond all numbers",
            small,
            room(),
            under_way(1, u64::MAX, u64::MAX),
            cpu(1000, 0, 1),
        ),
    ] {
        assert_eq!(admit(asks, &room, &busy), expected, "{what}");
    }
}

#[test]
fn the_reason_is_told_with_numbers() {
    let need = |asks, free, all, steps| Need { asks, free, all, steps };
    let tenth = GIB / 10 + 1;
    let short = |shortage| Waiting::Short(shortage);
    for (waiting, text) in [
        (Waiting::For(&[]), "waits for the steps before it"),
        (Waiting::For(&["setup"]), "waits for setup"),
        (Waiting::For(&["build", "lint", "unit"]), "waits for build, lint and unit"),
        (Waiting::NoRunner, "no runner is serving"),
        (Waiting::Behind(1), "waits behind 1 step"),
        (Waiting::Behind(3), "waits behind 3 steps"),
        (Waiting::Next, "starts next"),
        (short(Shortage::Slots { used: 4, slots: 4 }), "waits for a free slot: 4 of 4 in use"),
        (
            short(Shortage::Memory(need(4 * GIB, GIB + 3 * tenth, 20 * GIB + 7 * tenth, 4))),
            "waits for memory: it asks for 4 GiB, 1.3 of 20.7 GiB are free",
        ),
        (
            short(Shortage::Memory(need(4 * GIB, 512 << 20, 20 * GIB, 4))),
            "waits for memory: it asks for 4 GiB, 512 MiB of 20 GiB are free",
        ),
        (
            short(Shortage::Memory(need(64 * GIB, GIB, 20 * GIB, 2))),
            "waits for memory: it asks for 64 GiB of 20 GiB, so it runs alone, and 2 steps are under way",
        ),
        (
            short(Shortage::Cpu(need(2000, 500, 4000, 1))),
            "waits for cpu: it asks for 2, 0.5 of 4 are free",
        ),
        (
            short(Shortage::Cpu(need(8000, 0, 4250, 1))),
            "waits for cpu: it asks for 8 of 4.25, so it runs alone, and 1 step is under way",
        ),
        (
            short(Shortage::Machine { available_bytes: 300 << 20, reserve_bytes: 2 * GIB }),
            "waits for memory: the machine has 300 MiB left, and below 2 GiB nothing starts beside other steps",
        ),
    ] {
        assert_eq!(waiting.to_string(), text);
    }
}

#[test]
fn what_ran_alone_says_so() {
    let all = share(4000, 8 * GIB);
    let told = |cpu, memory| remark(share(cpu, memory), all);
    assert_eq!(told(4000, 8 * GIB), None);
    let text = "it ran alone, as it asks for more than there is: cpu 8 of 4";
    assert_eq!(told(8000, GIB).as_deref(), Some(text));
    let text =
        "it ran alone, as it asks for more than there is: cpu 4.5 of 4 and memory 9 GiB of 8 GiB";
    assert_eq!(told(4500, 9 * GIB).as_deref(), Some(text));
}

proptest! {
    /// Steps come in an order, and some of those under way end after each look, as `ends` says.
    #[test]
    fn all_run_in_order_and_never_too_many(
        asked in prop::collection::vec((0_u64..6000, 0_u64..12), 1..60),
        ends in prop::collection::vec((0_usize..5, 0_u64..9), 1..40),
        slots in 1_u32..6,
    ) {
        let mut waiting: VecDeque<(usize, Share)> =
            asked.iter().map(|(cpu, gib)| share(*cpu, gib * GIB)).enumerate().collect();
        let (mut running, mut started): (Vec<Share>, Vec<usize>) = (Vec::new(), Vec::new());
        let mut ends = ends.iter().cycle();
        let total = waiting.len();
        let mut looks = 0;
        while started.len() < total {
            looks += 1;
            prop_assert!(looks <= 10 * total + 10, "nothing goes on");
            let (ending, available) = ends.next().unwrap();
            let mut room = Room { slots, available_bytes: available * GIB, ..room() };
            let busy = |running: &[Share]| running.iter().fold(UnderWay::default(), |all, one| all.with(*one));
            while let Some((number, asks)) = waiting.front().copied() {
                if admit(asks, &room, &busy(&running)).is_err() {
                    prop_assert!(!running.is_empty(), "with nothing under way everything starts");
                    break;
                }
                waiting.pop_front();
                room = room.after(asks);
                running.push(asks);
                started.push(number);
            }
            let all = busy(&running);
            let fits = all.share.minus(room.share) == Share::default();
            prop_assert!(running.len() == 1 || (fits && all.steps <= slots), "{all:?}");
            // Somebody always ends some time.
            for _ in 0..(*ending).max(usize::from(looks % 3 == 0)) {
                running.pop();
            }
        }
        prop_assert!(started.is_sorted());
    }
}
