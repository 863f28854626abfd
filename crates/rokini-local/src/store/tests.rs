use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use rokini_wire::shapes::queue::{
    AcknowledgeQueueRecordsRequest, CreateQueueRequest, QueueStartingPosition, QueueStreamConfiguration,
    ReceiptEntry, ReceiveQueueRecordsRequest,
};
use rokini_wire::shapes::record::{
    GetRecordsRequest, GetShardIteratorRequest, PutRecordRequest, PutRecordsRequest, PutRecordsRequestEntry,
};
use rokini_wire::shapes::shard::SplitShardRequest;
use rokini_wire::shapes::stream::{
    CreateStreamRequest, DeleteStreamRequest, DescribeStreamSummaryRequest,
    IncreaseStreamRetentionPeriodRequest, ListStreamsRequest, StreamModeDetails,
};
use rokini_wire::shapes::tags::AddTagsToStreamRequest;
use rokini_wire::{SequenceNumber, ShardIteratorType, StreamStatus};
use std::time::Duration;

use super::*;
use crate::clock::ManualClock;
use crate::service::Service;

const NOON: i64 = 1_700_000_000_000;
const HOUR: i64 = 3_600_000;

fn settings() -> LocalSettings {
    LocalSettings { throughput_limits: false, ..LocalSettings::default() }
}

/// The service of a directory as it starts at this time, with segments of 16 KiB.
fn start(directory: &Path, millis: i64) -> Service {
    start_with(directory, millis, settings())
}

fn start_with(directory: &Path, millis: i64, settings: LocalSettings) -> Service {
    let now = Timestamp::from_millis(millis);
    let (store, kept) = Store::open_with(directory, settings.clone(), now, 16 << 10).unwrap();
    let shift = kept.as_ref().map_or(0, |kept| kept.shift_millis);
    let model = kept.map_or_else(|| Model::new(settings), |kept| kept.model);
    Service::new(model, Arc::new(ManualClock::new(now))).with_store(Some(store), shift)
}

fn create(name: &str) -> CreateStreamRequest {
    CreateStreamRequest::new(name).shard_count(1)
}

fn put(service: &Service, stream: &str, data: impl Into<Vec<u8>>) -> SequenceNumber {
    let request = PutRecordRequest::new(data.into()).partition_key("k").stream_name(stream);
    service.call(&request).unwrap().sequence_number
}

fn records(service: &Service, stream: &str) -> Vec<(SequenceNumber, Vec<u8>)> {
    let records = service.with_model(|model, now| model.records_of(now, stream)).unwrap();
    records.into_iter().map(|record| (record.sequence_number, record.data.to_vec())).collect()
}

fn split(service: &Service, stream: &str) {
    let request = SplitShardRequest::new("shardId-000000000000", (1_u128 << 127).to_string());
    service.call(&request.stream_name(stream)).unwrap();
}

fn names(service: &Service) -> Vec<String> {
    service.call(&ListStreamsRequest::default()).unwrap().stream_names
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| log::number_of(path).is_some()).collect();
    files.sort();
    files
}

fn bytes_on_disk(directory: &Path) -> u64 {
    segments(directory).iter().map(|path| fs::metadata(path).unwrap().len()).sum()
}

/// A directory as a killed process leaves it: a copy made while it is open.
fn killed(directory: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for path in segments(directory) {
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

#[test]
fn once_a_call_was_not_kept_nothing_is_changed_any_more() {
    let directory = tempfile::tempdir().unwrap();
    let first = start(directory.path(), NOON);
    first.call(&create("orders")).unwrap();
    put(&first, "orders", "kept");
    // Every write to it fails as to a full disk.
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    first.store().unwrap().send(Task::WriteInto(full));
    assert_eq!(first.call(&create("lost")).unwrap_err().code, ErrorCode::InternalFailure);
    let error = first.call(&create("later")).unwrap_err();
    assert!(error.message.contains("start anew"), "{error}");
    assert_eq!(names(&first), ["lost", "orders"], "and what is there is listed");
    // A record that is gone at the next start must not be read: whoever did would go on after it.
    let begin = GetShardIteratorRequest::new("shardId-000000000000", ShardIteratorType::TrimHorizon);
    let iterator = first.call(&begin.stream_name("orders")).unwrap().shard_iterator.unwrap();
    let error = first.call(&GetRecordsRequest::new(iterator)).unwrap_err();
    assert_eq!(error.code, ErrorCode::InternalFailure);
    drop(first);
    let second = start(directory.path(), NOON);
    assert_eq!(names(&second), ["orders"]);
    put(&second, "orders", "x");
}

#[test]
fn a_call_that_wrote_nothing_is_not_kept() {
    let directory = tempfile::tempdir().unwrap();
    let service = start_with(directory.path(), NOON, LocalSettings::default());
    service.call(&create("orders")).unwrap();
    let entry = |bytes: usize| PutRecordsRequestEntry::new(vec![0; bytes]).partition_key("k");
    let put = |sizes: &[usize]| {
        let entries: Vec<_> = sizes.iter().map(|bytes| entry(*bytes)).collect();
        service.call(&PutRecordsRequest::new(entries).stream_name("orders")).unwrap().failed_record_count
    };
    // A record as large as the rate of a second leaves nothing for those after it.
    assert_eq!(put(&[(1 << 20) - 1]), Some(0));
    let before = bytes_on_disk(directory.path());
    assert_eq!(put(&[1, 1]), Some(2));
    assert_eq!(bytes_on_disk(directory.path()), before);
}

/// Two streams, one of them split, 60 records each; what was answered.
fn fill(service: &Service) -> BTreeSet<(SequenceNumber, Vec<u8>)> {
    service.call(&create("orders")).unwrap();
    service.call(&create("payments")).unwrap();
    let mut answered = BTreeSet::new();
    for i in 0..60_u32 {
        if i == 30 {
            split(service, "orders");
        }
        for stream in ["orders", "payments"] {
            let data = format!("{stream} {i} {}", "x".repeat(500));
            answered.insert((put(service, stream, data.clone()), data.into_bytes()));
        }
    }
    answered
}

fn all_records(service: &Service) -> BTreeSet<(SequenceNumber, Vec<u8>)> {
    ["orders", "payments"].iter().flat_map(|stream| records(service, stream)).collect()
}

#[test]
fn what_was_answered_is_there_however_the_process_ends() {
    let directory = tempfile::tempdir().unwrap();
    let service = start(directory.path(), NOON);
    let answered = fill(&service);
    let copy = killed(directory.path());
    assert_eq!(all_records(&start(copy.path(), NOON)), answered, "killed");
    drop(service);
    for _ in 0..3 {
        assert_eq!(all_records(&start(directory.path(), NOON)), answered, "stopped");
    }
}

/// A directory that was filled, and what was answered meanwhile.
type Filled = (tempfile::TempDir, BTreeSet<(SequenceNumber, Vec<u8>)>);

static FILLED: LazyLock<Filled> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let answered = fill(&start(directory.path(), NOON));
    (directory, answered)
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn damage_costs_what_is_damaged_and_is_set_aside(
        which in 0.0..1.0_f64, place in 0.0..1.0_f64, length in 1..600_usize, cut: bool,
    ) {
        let (written, answered) = &*FILLED;
        let directory = killed(written.path());
        let files = segments(directory.path());
        prop_assert!(files.len() > 3, "several segments");
        let index = (which * files.len() as f64) as usize;
        let (file, is_last) = (&files[index], index + 1 == files.len());
        let mut bytes = fs::read(file).unwrap();
        let from = (place * bytes.len() as f64) as usize;
        if cut {
            bytes.truncate(from);
        } else {
            let to = (from + length).min(bytes.len());
            bytes[from..to].iter_mut().for_each(|byte| *byte ^= 0xa5);
        }
        fs::write(file, &bytes).unwrap();

        let service = start(directory.path(), NOON);
        let there = all_records(&service);
        prop_assert!(there.is_subset(answered), "nothing is made up");
        let damaged = if cut { usize::MAX } else { length / 500 + 2 };
        prop_assert!(answered.len() - there.len() <= damaged, "{} are gone", answered.len() - there.len());
        let aside = service.store().unwrap().set_aside();
        if !cut {
            prop_assert_eq!(aside.len(), 1);
            prop_assert_eq!(fs::read(&aside[0]).unwrap(), bytes, "as it was found");
        }
        // No number is given a second time, and what is put now is read behind everything.
        let new = put(&service, "payments", "new");
        if !aside.is_empty() || !is_last {
            prop_assert!(answered.iter().all(|(number, _)| *number != new));
        }
        let payments = records(&service, "payments");
        prop_assert_eq!(&payments.last().unwrap().1[..], b"new");
        drop(service);
        let again = start(directory.path(), NOON);
        prop_assert!(again.store().unwrap().set_aside().is_empty(), "said once");
        prop_assert_eq!(records(&again, "payments"), payments);
    }
}

/// What is done, and what is said in the log meanwhile.
fn heard<T>(run: impl FnOnce() -> T) -> (T, String) {
    let said = tempfile::NamedTempFile::new().unwrap();
    let file = said.reopen().unwrap();
    let subscriber = tracing_subscriber::fmt().with_writer(Arc::new(file)).with_ansi(false).finish();
    let done = tracing::subscriber::with_default(subscriber, run);
    (done, fs::read_to_string(said.path()).unwrap())
}

#[test]
fn a_directory_that_lost_all_its_files_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let (service, said) = heard(|| start(directory.path(), NOON));
    assert!(!said.contains("WARN"), "a new one is as it should be: {said}");
    service.call(&create("orders")).unwrap();
    drop(service);
    for trace in ["kinesis.lock", "dynamodb.sqlite"] {
        for file in fs::read_dir(directory.path()).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
        fs::write(directory.path().join(trace), "").unwrap();
        let (_, said) = heard(|| start(directory.path(), NOON));
        let named = format!("`{}` was used before, since `{trace}` is in it", directory.path().display());
        assert!(said.contains("WARN") && said.contains(&named), "{said}");
    }
    let (_, said) = heard(|| start(directory.path(), NOON));
    assert!(!said.contains("WARN"), "it has its files: {said}");
}

/// What is done to a file.
type Damage = fn(&Path);

#[test]
fn a_file_that_is_gone_or_was_cut_is_missed() {
    let (written, answered) = &*FILLED;
    let emptied = |file: &Path| fs::write(file, "").unwrap();
    let removed = |file: &Path| fs::remove_file(file).unwrap();
    // Where a call ends, so that nothing of what is left shows it.
    let cut = |file: &Path| {
        let bytes = fs::read(file).unwrap();
        let marks = bytes.windows(4).enumerate().filter(|(_, bytes)| *bytes == b"RKN\x01");
        let last = marks.map(|(at, _)| at).next_back().unwrap();
        fs::write(file, &bytes[..last]).unwrap();
    };
    let replaced = |file: &Path| {
        fs::remove_file(file).unwrap();
        fs::create_dir(file).unwrap();
    };
    let ways: [(Damage, &str); 4] = [
        (emptied, "to 0 bytes"),
        (removed, "is not there"),
        (cut, "was cut from"),
        (replaced, "is no file, and is passed over"),
    ];
    for (damage, expected) in ways {
        let directory = killed(written.path());
        let file = segments(directory.path()).remove(1);
        damage(&file);
        let (service, said) = heard(|| start(directory.path(), NOON));
        let named = format!("`{}` ", file.display());
        assert!(said.contains(expected) && said.contains(&named), "{expected}: {said}");
        let there = all_records(&service);
        assert!(there.is_subset(answered) && there.len() < answered.len(), "{expected}");
        for stream in ["orders", "payments"] {
            let new = put(&service, stream, "new");
            assert!(answered.iter().all(|(number, _)| *number != new), "{expected}: {new} is given again");
        }
        let there = all_records(&service);
        drop(service);
        let (again, said) = heard(|| start(directory.path(), NOON));
        assert!(!said.contains("lost"), "said once: {said}");
        assert_eq!(all_records(&again), there, "{expected}");
    }
}

#[test]
fn files_that_are_not_needed_any_more_are_not_missed() {
    let directory = tempfile::tempdir().unwrap();
    let service = start(directory.path(), NOON);
    fill(&service);
    service.advance(Duration::from_secs(25 * 3600));
    let before = segments(directory.path()).len();
    for _ in 0..5 {
        service.clean_up();
    }
    put(&service, "orders", "after");
    assert!(segments(directory.path()).len() < before, "files were deleted");
    let copy = killed(directory.path());
    drop(service);
    for place in [copy.path(), directory.path()] {
        let (_, said) = heard(|| start(place, NOON + 25 * HOUR));
        assert_eq!(said, "");
    }
}

#[test]
fn a_cut_of_the_last_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let service = start(directory.path(), NOON);
    service.call(&create("orders")).unwrap();
    put(&service, "orders", "first");
    let cut = put(&service, "orders", "second");
    let copy = killed(directory.path());
    let file = segments(copy.path()).pop().unwrap();
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    let (service, said) = heard(|| start(copy.path(), NOON));
    assert!(said.contains("WARN") && said.contains(&format!("`{}` ended with", file.display())), "{said}");
    assert_eq!(records(&service, "orders").len(), 1);
    assert!(put(&service, "orders", "third") > cut, "its number is not given again");
}

#[test]
fn what_was_refused_takes_nothing_from_the_files() {
    let directory = tempfile::tempdir().unwrap();
    let service = start(directory.path(), NOON);
    let answered = fill(&service);
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    service.store().unwrap().send(Task::WriteInto(full));
    for stream in ["orders", "payments"] {
        service.call(&DeleteStreamRequest::new().stream_name(stream)).unwrap_err();
    }
    // There is room again.
    service.store().unwrap().send(Task::WriteInto(tempfile::tempfile().unwrap()));
    service.clean_up();
    drop(service);
    assert_eq!(all_records(&start(directory.path(), NOON)), answered);
}

#[test]
fn a_reader_passes_over_what_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let service = start(directory.path(), NOON);
    service.call(&create("orders")).unwrap();
    for data in ["first", "second", "third"] {
        put(&service, "orders", data);
    }
    drop(service);
    let file = &segments(directory.path())[0];
    let mut bytes = fs::read(file).unwrap();
    let at = bytes.windows(6).position(|window| window == b"second").unwrap();
    bytes[at] = b'S';
    fs::write(file, bytes).unwrap();
    let service = start(directory.path(), NOON);
    put(&service, "orders", "fourth");
    split(&service, "orders");
    let from = GetShardIteratorRequest::new("shardId-000000000000", "TRIM_HORIZON").stream_name("orders");
    let mut iterator = service.call(&from).unwrap().shard_iterator;
    let mut read = Vec::new();
    while let Some(at) = iterator {
        let answer = service.call(&GetRecordsRequest::new(at).limit(1)).unwrap();
        read.extend(answer.records.iter().map(|record| record.data.to_vec()));
        iterator = answer.next_shard_iterator;
    }
    assert_eq!(read, [b"first".to_vec(), b"third".to_vec(), b"fourth".to_vec()], "to the end of the shard");
}

/// A stream whose changes take a minute, with a record from before its split and one from after; nothing but the latter's call has
/// seen that the split came due.
fn with_a_split_come_due() -> (tempfile::TempDir, LocalSettings, Service, [SequenceNumber; 2]) {
    let directory = tempfile::tempdir().unwrap();
    let slow = LocalSettings { status_change: Duration::from_secs(60), ..settings() };
    let service = start_with(directory.path(), NOON, slow.clone());
    service.call(&create("orders")).unwrap();
    service.advance(Duration::from_secs(61));
    let first = put(&service, "orders", "before");
    split(&service, "orders");
    service.advance(Duration::from_secs(61));
    let second = put(&service, "orders", "in a child");
    (directory, slow, service, [first, second])
}

#[test]
fn a_clock_that_was_set_back_delays_nothing() {
    let (directory, slow, service, [first, second]) = with_a_split_come_due();
    service.call(&create("payments")).unwrap();
    drop(service);

    let service = start_with(directory.path(), NOON - 48 * HOUR, slow);
    let kept: Vec<_> = records(&service, "orders").into_iter().map(|(number, _)| number).collect();
    assert_eq!(kept, [first, second]);
    put(&service, "orders", "after");
    let status = |name: &str| {
        let request = DescribeStreamSummaryRequest::new().stream_name(name);
        service.call(&request).unwrap().stream_description_summary.stream_status
    };
    assert_eq!(status("payments"), StreamStatus::Creating);
    service.advance(Duration::from_secs(61));
    assert_eq!(status("payments"), StreamStatus::Active, "after a minute, and not after two days");
}

#[test]
fn a_shard_that_came_due_before_the_time_was_moved_back_keeps_its_records() {
    let (directory, slow, service, [first, second]) = with_a_split_come_due();
    service.shift(-48 * HOUR);
    let third = put(&service, "orders", "later");
    let copy = killed(directory.path());
    let service = start_with(copy.path(), NOON, slow);
    let kept = [(first, b"before".to_vec()), (second, b"in a child".to_vec()), (third, b"later".to_vec())];
    assert_eq!(records(&service, "orders"), kept);
}

#[test]
fn the_number_of_a_record_that_was_lost_is_not_given_again() {
    let directory = tempfile::tempdir().unwrap();
    let service = start(directory.path(), NOON);
    service.call(&create("orders")).unwrap();
    put(&service, "orders", "first");
    let lost = put(&service, "orders", "second");
    let copy = killed(directory.path());
    let file = segments(copy.path()).pop().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let service = start(copy.path(), NOON);
    assert_eq!(records(&service, "orders").len(), 1);
    assert!(put(&service, "orders", "third") > lost);
}

#[test]
fn a_model_that_replaces_another_leaves_nothing_of_it() {
    let directory = tempfile::tempdir().unwrap();
    fill(&start(directory.path(), NOON));
    let (store, kept) =
        Store::open_with(directory.path(), settings(), Timestamp::from_millis(NOON), 16 << 10).unwrap();
    assert!(kept.is_some());
    let mut model = Model::new(settings());
    model.call(Timestamp::from_millis(NOON), &create("other")).unwrap();
    store.replace(directory.path(), Timestamp::from_millis(NOON), &model).unwrap();
    assert!(bytes_on_disk(directory.path()) < 32 << 10, "only the file it was written to is left");
    drop(store);
    assert_eq!(names(&start(directory.path(), NOON)), ["other"]);
}

#[test]
fn the_time_goes_on_from_where_it_was_moved() {
    let directory = tempfile::tempdir().unwrap();
    let service = start(directory.path(), NOON);
    service.advance(Duration::from_secs(7200));
    service.shift(-1000);
    let moved = service.now();
    drop(service);
    assert_eq!(start(directory.path(), NOON).now(), moved);
}

#[test]
fn files_hold_what_is_there_and_little_more() {
    let directory = tempfile::tempdir().unwrap();
    let service = start(directory.path(), NOON);
    for name in ["short", "long", "gone"] {
        service.call(&create(name)).unwrap();
    }
    let longer = IncreaseStreamRetentionPeriodRequest::new(8760).stream_name("long");
    service.call(&longer).unwrap();
    let mut most = 0;
    let mut last = put(&service, "short", "first");
    for hour in 0..100 {
        for _ in 0..10 {
            last = put(&service, "short", vec![7; 1_000]);
        }
        if hour % 10 == 0 {
            put(&service, "long", format!("hour {hour}"));
            put(&service, "gone", vec![7; 1_000]);
        }
        service.advance(Duration::from_secs(3600));
        service.clean_up();
        // Waits for the thread.
        service
            .call(&AddTagsToStreamRequest::new([("hour".to_owned(), hour.to_string())]).stream_name("long"))
            .unwrap();
        most = most.max(bytes_on_disk(directory.path()));
    }
    assert!(most < 400_000, "a day of 24 hours has 240 kB of records; {most} bytes on disk");
    service.call(&DeleteStreamRequest::new().stream_name("gone")).unwrap();
    service.advance(Duration::from_secs(25 * 3600));
    // Each time a few segments are written anew.
    for _ in 0..20 {
        service.clean_up();
    }
    service
        .call(&AddTagsToStreamRequest::new([("end".to_owned(), "x".to_owned())]).stream_name("long"))
        .unwrap();
    let left = bytes_on_disk(directory.path());
    assert!(left < 30_000, "ten short records are left: {left} bytes");
    let kept = records(&service, "long");
    assert_eq!(kept.len(), 10);
    drop(service);
    let again = start(directory.path(), NOON);
    assert_eq!(records(&again, "long"), kept);
    assert_eq!(records(&again, "short"), []);
    assert!(put(&again, "short", "new") > last, "numbers go on where all records were gone");
}

#[test]
fn deliveries_of_a_queue_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let service = start(directory.path(), NOON);
    let on_demand = StreamModeDetails::new("ON_DEMAND");
    service.call(&CreateStreamRequest::new("orders").stream_mode_details(on_demand)).unwrap();
    let source = QueueStreamConfiguration::new("arn:aws:kinesis:us-east-1:000000000000:stream/orders")
        .starting_position(QueueStartingPosition::new("TRIM_HORIZON"));
    let arn = service.call(&CreateQueueRequest::new("q", [source])).unwrap().queue_description.queue_arn;
    for data in ["a", "b", "c"] {
        put(&service, "orders", data);
    }
    let receive = |service: &Service, limit: i32| {
        let request = ReceiveQueueRecordsRequest::new(&arn).limit(limit);
        service.call(&request).unwrap().queue_records
    };
    let acknowledge = |service: &Service, handle: &str| {
        let request = AcknowledgeQueueRecordsRequest::new(&arn, [ReceiptEntry::new(handle)]);
        assert!(service.call(&request).unwrap().failed.is_empty());
    };
    let first = receive(&service, 2);
    acknowledge(&service, &first[0].receipt_handle);
    let copy = killed(directory.path());
    drop(service);
    for place in [copy.path(), directory.path()] {
        let service = start(place, NOON);
        assert_eq!(&receive(&service, 10)[0].data[..], b"c", "the others are acknowledged or in flight");
        service.advance(Duration::from_secs(31));
        let seen: Vec<Vec<u8>> = receive(&service, 10).iter().map(|record| record.data.to_vec()).collect();
        assert_eq!(seen, [b"b".to_vec(), b"c".to_vec()]);
    }
}

#[test]
fn a_file_of_the_format_before_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    File::create(directory.path().join("kinesis.redb")).unwrap();
    let error = Store::open(directory.path(), settings(), Timestamp::from_millis(NOON)).unwrap_err();
    assert!(error.to_string().contains("kinesis.redb`: move the file away to begin anew"), "{error}");
}
