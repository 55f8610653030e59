//! Others on the same bus: of another version, and such as send anything.

use crate::common::target;
use crate::fleet::{Fleet, figures, plan};
use crate::nats::{Nats, Stranger};
use crate::{OPEN, due};

#[test]
fn another_version_in_the_fleet_is_named_and_nothing_starts() {
    let Some(nats) = Nats::start("another version") else {
        return;
    };
    let target = target();
    let text = plan(&target, "", &format!("{OPEN}, duration: 1s"));
    let url = nats.url();
    let mut fleet = Fleet::new(&["--bus", &url, "--fleet", "mixed"], &text);
    fleet.run("0/2", &[]);
    fleet.wait_for(0, "fleet mixed");
    let mut stranger = Stranger::come(&nats);
    let began = std::time::Instant::now();
    // Until it has come and hears it.
    while fleet.children[0]
        .as_mut()
        .unwrap()
        .try_wait()
        .unwrap()
        .is_none()
    {
        stranger.say("loadr.mixed.all", b"loadr-fleet/7 3.1.4\n{}\n");
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(began.elapsed().as_secs() < 60);
    }
    let one = fleet.left(0);
    assert_eq!(one.code, Some(1));
    assert!(
        one.stderr.contains("loadr-fast 3.1.4 (version 7)"),
        "{}",
        one.stderr
    );
    assert!(
        one.stderr.contains(env!("CARGO_PKG_VERSION")),
        "{}",
        one.stderr
    );
    assert!(one.summary.is_null());
}

#[test]
fn whatever_a_stranger_sends_is_passed_over_and_counted() {
    let Some(nats) = Nats::start("a stranger") else {
        return;
    };
    let target = target();
    let text = plan(&target, "", &format!("{OPEN}, duration: 8s"));
    let url = nats.url();
    let mut fleet = Fleet::new(&["--bus", &url, "--fleet", "loud"], &text);
    fleet.run_all(2, &["--on-lost", "abort"]);
    let watch = fleet.watch(&[]);
    fleet.wait_for_second(0, 1);
    let mut stranger = Stranger::come(&nats);
    let head = format!("loadr-fleet/1 {}\n", env!("CARGO_PKG_VERSION"));
    let me = |index: u32| {
        format!("\"me\":{{\"index\":{index},\"of\":2,\"instance\":77,\"place\":\"x\"}}")
    };
    let messages = [
        String::new(),
        "loadr-fleet/1".to_owned(),
        "loadr-fleet/9 9.9.9\n{}\n".to_owned(),
        format!("{head}{{\"is\":\"nonsense\"}}\n"),
        format!("{head}{}", "[".repeat(20_000)),
        format!("{head}{{\"is\":\"bye\",{},\"why\":\"boo\"}}\n", me(1)),
        format!(
            "{head}{{\"is\":\"start\",{},\"attempt\":1,\"at_ns\":0}}\n",
            me(0)
        ),
        format!(
            "{head}{{\"is\":\"order\",{},\"number\":1,\"command\":{{\"do\":\"pause\"}}}}\n",
            me(0)
        ),
        format!(
            "{head}{{\"is\":\"order\",{},\"number\":99,\"command\":{{\"do\":\"pause\"}}}}\n",
            me(0)
        ),
        format!(
            "{head}{{\"is\":\"followed\",{},\"number\":1,\"error\":null}}\n",
            me(1)
        ),
        format!(
            "{head}{{\"is\":\"second\",{},\"number\":1,\"before\":0,\"part\":{{\"at\":0,\"of\":1}}}}\nx",
            me(1)
        ),
        format!(
            "{head}{{\"is\":\"end\",{},\"seconds\":0,\"part\":{{\"at\":0,\"of\":1}}}}\n{{}}",
            me(1)
        ),
        format!("{head}{{\"is\":\"missed_seconds\",\"from\":18446744073709551615}}\n"),
        format!(
            "{head}{{\"is\":\"hello\",{},\"load\":{{\"plan_hash\":\"\",\"load_hash\":\"\",\"seed\":1}},\"is_ready\":true}}\n",
            me(0)
        ),
    ];
    let subjects = ["all", "to.0", "to.1", "seconds.0", "seconds.1", "seconds.7"];
    let large = vec![b'x'; 1 << 20];
    for round in 0..40 {
        for subject in subjects {
            let subject = format!("loadr.loud.{subject}");
            for message in &messages {
                stranger.say(&subject, message.as_bytes());
            }
            if round % 10 == 0 {
                stranger.say(&subject, &large);
            }
        }
    }
    for at in [0, 1] {
        let one = fleet.left(at);
        assert_eq!(one.code, Some(0), "{}", one.stderr);
        assert_eq!(one.count("http_reqs"), due(8) / 2);
        assert!(
            one.notes().contains("messages passed over"),
            "{}",
            one.notes()
        );
        assert!(!one.stderr.contains("is lost"), "{}", one.stderr);
    }
    let seen = fleet.left(watch);
    assert_eq!(seen.code, Some(0), "{}", seen.stderr);
    assert_eq!(figures(&seen.summary), figures(&fleet.merge(&[0, 1])));
}
