//! A worker joins, and gets shards from another one, which leaves then: nobody waits until processes of a handler have started.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::time::sleep;

use super::support::{handled, until_none_runs};
use crate::support::{LONGEST_WAIT, Local, Member};

const SHARDS: usize = 20;
/// How long the interpreter takes until it runs the program.
const START: Duration = Duration::from_secs(4);

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// When the processes of the second worker began.
fn begun_by_second(local: &Local) -> Vec<f64> {
    let text = std::fs::read_to_string(local.home().join("begun")).unwrap_or_default();
    let of_worker = text.lines().filter_map(|line| line.strip_prefix("second "));
    of_worker.filter_map(|at| at.parse().ok()).collect()
}

async fn processes_run_before_shards_come(kind: &str, program: &str) {
    let local = Local::start(i32::try_from(SHARDS).unwrap()).await;
    super::kcl::write(&local);
    super::lines::write(&local);
    let start = |worker: &str| {
        let seconds = START.as_secs();
        let slow =
            format!("echo {worker} $(date +%s.%N) >> begun; sleep {seconds}; exec python3 -u {program}");
        let arguments = ["run", "orders", "--group", "g", "--worker", worker, "--handler", kind];
        let mut command = local.rokini(&[&arguments[..], &["--", "sh", "-c", &slow]].concat());
        for name in ["PATH", "PYTHONPATH"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        Member::spawn(command)
    };
    let to_each_shard = |round: &str| -> Vec<(u128, String)> {
        let place = |shard: usize| u128::MAX / SHARDS as u128 * shard as u128 + 1;
        (0..SHARDS).map(|shard| (place(shard), format!("{round}-{shard}"))).collect()
    };
    let mut all = BTreeSet::new();
    let mut put = async |round: &str, members: &[&Member]| {
        let data = to_each_shard(round);
        all.extend(data.iter().map(|(_, data)| data.clone()));
        local.put_hashed("orders", data).await;
        let begun = Instant::now();
        while !all.iter().all(|data| handled(&local).contains_key(data)) {
            let said = || members.iter().map(|member| member.stderr()).collect::<String>();
            assert!(begun.elapsed() < LONGEST_WAIT, "{}", said());
            sleep(Duration::from_millis(50)).await;
        }
        begun.elapsed()
    };
    let mut first = start("first");
    put("alone", &[&first]).await;
    let mut second = start("second");
    second.until("that it joins", |second| second.stderr().contains("joined the group")).await;
    let joined = now();
    let half = |second: &Member| second.stderr().matches("started at").count() >= SHARDS / 2;
    second.until("its half", half).await;
    let took = put("together", &[&first, &second]).await;
    let before = begun_by_second(&local).into_iter().filter(|at| *at <= joined - START.as_secs_f64()).count();
    eprintln!("{kind}: {before} had started before it joined, all is done {took:?} after it was put");
    assert!(before >= SHARDS / 2 && took < START, "{before}, {took:?}\n{}", second.stderr());

    // A deploy: the older one goes once the newer one is there, which expects what it has.
    let waits = Instant::now();
    while begun_by_second(&local).len() < SHARDS {
        assert!(waits.elapsed() < LONGEST_WAIT, "{}", second.stderr());
        sleep(Duration::from_millis(50)).await;
    }
    sleep(START).await;
    let leaves = now();
    assert_eq!(first.stop().await, Some(0), "{}", first.stderr());
    let took = put("the rest", &[&first, &second]).await;
    let late = begun_by_second(&local).into_iter().filter(|at| *at > leaves).count();
    assert_eq!(second.stop().await, Some(0), "{}", second.stderr());
    until_none_runs(&local).await;
    eprintln!("{kind}: {late} started after the first one left, all is done {took:?} after it was put");
    // A spare comes in the place of the last one, and of one more where that one was needed.
    assert!(late <= 2 && took < START, "{late}, {took:?}\n{}", second.stderr());
}

#[tokio::test]
async fn m4_a_hand_over_of_ten_shards_does_not_wait_for_a_slow_interpreter() {
    if super::support::python("json").is_none() {
        return;
    }
    for (kind, program) in [("multilang", "app.py"), ("lines", "bill.py")] {
        processes_run_before_shards_come(kind, program).await;
    }
}
