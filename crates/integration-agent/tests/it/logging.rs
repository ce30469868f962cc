//! Logs: idempotent by offset, bounded, and closed to whoever does not hold the step.

use sandgate_domain::ErrorCode;
use sandgate_integration_agent::{CAP_BYTES, Progress};

use crate::fixture::{Fixture, assert_refused};

const GATES: &str = "  unit: { run: echo }\n";
const CHUNK: usize = 256 << 10;

#[tokio::test]
async fn what_is_sent_again_is_not_written_twice_and_a_gap_is_refused() {
    let fixture = Fixture::new().await;
    let run = fixture.run(GATES).await;
    let claimed = fixture.claim().await;
    let step = claimed.step.parse().unwrap();
    let mut watching = fixture.agent.watch(run);
    for (offset, data, next) in [
        (0, "first ", 6),
        (0, "first ", 6),
        (6, "second ", 13),
        (2, "rst second third", 18),
        (0, "", 18),
        (3, "st", 18),
    ] {
        let reply = fixture.append(&claimed.token, offset, data.as_bytes()).await.unwrap();
        assert_eq!(reply.next_offset, next, "{data}");
    }
    let gap = fixture.append(&claimed.token, 19, b"x").await;
    assert_refused(gap, ErrorCode::InvalidArgument);
    assert_eq!(fixture.logs.read(run, step, 0, 100).unwrap(), b"first second third");
    let mut seen = Vec::new();
    while let Ok(progress) = watching.try_recv() {
        if let Progress::Output { bytes, .. } = progress {
            seen.extend(bytes);
        }
    }
    assert_eq!(seen, b"first second third", "watchers see it once, too");
}

#[tokio::test]
async fn a_chunk_is_bounded() {
    let fixture = Fixture::new().await;
    fixture.run(GATES).await;
    let claimed = fixture.claim().await;
    let large = fixture.append(&claimed.token, 0, &vec![b'x'; CHUNK + 1]).await;
    assert_refused(large, ErrorCode::InvalidArgument);
    fixture.append(&claimed.token, 0, &vec![b'x'; CHUNK]).await.unwrap();
}

#[tokio::test]
async fn past_the_cap_bytes_are_counted_and_a_marker_says_how_many() {
    let fixture = Fixture::new().await;
    let run = fixture.run(GATES).await;
    let claimed = fixture.claim().await;
    let step = claimed.step.parse().unwrap();
    let chunk = vec![b'x'; CHUNK];
    let count = CAP_BYTES / CHUNK as u64;
    for number in 0..count {
        let reply = fixture.append(&claimed.token, number * CHUNK as u64, &chunk).await.unwrap();
        assert_eq!(reply.is_full, number + 1 == count);
    }
    // Bytes that nobody needs were not sent; those behind them may be.
    let reply = fixture.append(&claimed.token, CAP_BYTES + 1000, b"tail").await.unwrap();
    assert_eq!((reply.next_offset, reply.is_full), (CAP_BYTES + 1004, true));
    let mut report = fixture.exited(1);
    report.log_end = CAP_BYTES + 1010;
    fixture.complete(&claimed.token, report).await.unwrap();
    let tail = fixture.logs.read(run, step, CAP_BYTES, 1000).unwrap();
    let tail = String::from_utf8(tail).unwrap();
    assert_eq!(tail, "\n[sandgate: 1010 more bytes of output were dropped]\n");
}

#[tokio::test]
async fn a_step_that_has_ended_takes_no_more_output() {
    let fixture = Fixture::new().await;
    fixture.run(GATES).await;
    let claimed = fixture.claim().await;
    fixture.append(&claimed.token, 0, b"one").await.unwrap();
    fixture.complete(&claimed.token, fixture.exited(1)).await.unwrap();
    assert_refused(fixture.append(&claimed.token, 3, b"two").await, ErrorCode::Conflict);
}
