use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rokini::{DeadLetterEntry, DeadLetterFile, DeadLetterSink};

use super::{letter, record};
use crate::child;

const PATH: &str = "DEAD_LETTERS";
const FROM: &str = "FROM";
const KEPT: &str = "kept: ";

/// Puts letters for ever and says which are confirmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "run by the other as a child"]
async fn child_puts_letters_until_it_is_killed() {
    let sink = DeadLetterFile::new(std::env::var(PATH).unwrap());
    let from: u128 = std::env::var(FROM).unwrap().parse().unwrap();
    let shards = (0..4).map(|shard| {
        let sink = sink.clone();
        tokio::spawn(async move {
            for number in (from + shard..).step_by(4) {
                sink.put(&letter(vec![record(number, "k", vec![b'x'; 100_000])])).await.unwrap();
                println!("\n{KEPT}{number}");
            }
        })
    });
    futures::future::join_all(shards).await;
}

#[test]
fn a1_what_a_file_confirmed_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dead.jsonl");
    let mut confirmed = BTreeSet::new();
    let mut torn = 0;
    for round in 0..6_u32 {
        let mut child = child::command("dead_letter::file::child_puts_letters_until_it_is_killed")
            .env(PATH, &path)
            .env(FROM, (1_000_000 * (round + 1)).to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut kept = said.filter_map(|line| line.strip_prefix(KEPT).map(str::to_owned));
        confirmed.extend(kept.by_ref().take(3 + 5 * round as usize));
        // SIGKILL.
        child.kill().unwrap();
        confirmed.extend(kept);
        child.wait().unwrap();
        // A kill cannot cut a write that the kernel took whole, a power failure can.
        let text = std::fs::read(&path).unwrap();
        if round % 2 == 0 {
            std::fs::write(&path, [&text[..], b"{\"key\":\"torn"].concat()).unwrap();
            torn += 1;
        }
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let entries: Vec<_> = text.lines().map(|line| DeadLetterEntry::parse(line.as_bytes())).collect();
    let found: BTreeSet<_> = entries.iter().flatten().map(|entry| entry.sequence_number.clone()).collect();
    let missing: Vec<_> = confirmed.difference(&found).collect();
    assert!(missing.is_empty(), "confirmed and not there: {missing:?}");
    let broken = entries.iter().filter(|entry| entry.is_err()).count();
    assert!(broken >= torn && broken <= torn + 6, "{broken} broken lines");
    assert!(confirmed.len() >= 6 * 3);
}
