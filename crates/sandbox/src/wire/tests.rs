//! Messages come back as they were, and hostile bytes are refused without a panic.

use super::*;

fn launch() -> Launch {
    Launch {
        id_map: IdMap::Single { user: 7, group: 8 },
        hostname: "name".into(),
        stage: "/stage".into(),
        lower: vec!["/a".into(), OsString::from_vec(vec![b'/', 0xff]).into()],
        upper: "/u/upper".into(),
        work: "/u/work".into(),
        binds: vec![BindRequest { source: "/s".into(), target: "/t".into(), writable: true }],
        proxied: true,
        cgroup_files: vec!["/c".into()],
        has_cgroup: true,
        tmp_bytes: 1,
        tmp_inodes: u64::MAX,
        file_bytes: 3,
        process_limit: Some(4),
        probe: false,
    }
}

fn requests() -> Vec<Request> {
    vec![
        Request::Prepare { id_map: IdMap::Range, program: "/p".into() },
        Request::Launch(Box::new(launch())),
        Request::LaunchPlain(Box::new(PlainLaunch {
            root: "/r".into(),
            cgroup_files: vec!["/c".into(), "/d".into()],
            file_bytes: 5,
            process_limit: None,
            data_bytes: Some(7),
            host: 8,
            probe: true,
        })),
        Request::Exec(Exec {
            id: 9,
            argv: vec!["a".into(), "".into()],
            env: vec![("A".into(), "b=c".into())],
            cwd: "/".into(),
            streams: Streams::Terminal { rows: 24, cols: 80 },
        }),
        Request::Probe { id: 1, probe: Probe::Memory(1 << 40) },
        Request::Signal { id: 2, signal: -1 },
        Request::KillAll,
    ]
}

fn events() -> Vec<Event> {
    vec![
        Event::Prepared { namespaces: vec![0, 1] },
        Event::Ready,
        Event::Failed { step: "step".into(), errno: 5 },
        Event::Started { id: 1, nanoseconds: u64::MAX },
        Event::ExecFailed { id: 1, step: "é".into(), errno: 2 },
        Event::Ended { id: 1, signaled: true, code: 9 },
        Event::Killed,
    ]
}

#[test]
fn messages_come_back() {
    for request in requests() {
        assert_eq!(Request::decode(&request.encode()).as_ref(), Some(&request));
    }
    for event in events() {
        assert_eq!(Event::decode(&event.encode()).as_ref(), Some(&event));
    }
}

#[test]
fn cut_or_lengthened_messages_are_refused() {
    let requests: Vec<_> = requests().iter().map(Request::encode).collect();
    for bytes in requests {
        for length in 0..bytes.len() {
            assert_eq!(Request::decode(&bytes[..length]), None);
        }
        assert_eq!(Request::decode(&[&bytes[..], &[0]].concat()), None);
    }
    for bytes in events().iter().map(Event::encode) {
        for length in 0..bytes.len() {
            assert_eq!(Event::decode(&bytes[..length]), None);
        }
    }
}

#[test]
fn any_bytes_are_survived() {
    for bytes in events().iter().map(Event::encode) {
        for position in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[position] = value;
                // Either it is some event or none; it never takes more memory than it was sent.
                drop(Event::decode(&changed));
            }
        }
    }
}
