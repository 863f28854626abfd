//! The live table on a terminal.

use std::io::{self, Write};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::style::{Attribute, Print, SetAttribute};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen, size,
};
use crossterm::{execute, queue};

use super::event::RunEvent;
use super::format::{Clock, Count, Seconds, shard_number};
use super::snapshot::{ShardLine, Snapshot, WorkerLine};

/// Digits of a position that are shown: the last ones, which move.
const POSITION_DIGITS: usize = 12;
/// Where the size cannot be asked for.
const USUAL_SIZE: (u16, u16) = (80, 24);

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Strong,
    Faint,
}

type Line = (Style, String);

/// Gives the terminal back as it was when dropped.
#[derive(Debug)]
pub(crate) struct Screen {
    styled: bool,
    entered: bool,
}

impl Screen {
    /// `styled`: whether some lines stand out.
    pub(crate) fn new(styled: bool) -> Self {
        Self { styled, entered: false }
    }

    /// The bytes that draw a snapshot.
    pub(crate) fn draw(&mut self, snapshot: &Snapshot, events: &[RunEvent]) -> io::Result<Vec<u8>> {
        let (width, height) = size().unwrap_or(USUAL_SIZE);
        let mut bytes = Vec::new();
        queue!(bytes, BeginSynchronizedUpdate)?;
        if !self.entered {
            queue!(bytes, EnterAlternateScreen, Hide, Clear(ClearType::All))?;
            self.entered = true;
        }
        for (n, (style, text)) in frame(snapshot, events, width.into(), height.into()).into_iter().enumerate()
        {
            let attribute = match style {
                _ if !self.styled => Attribute::Reset,
                Style::Plain => Attribute::Reset,
                Style::Strong => Attribute::Bold,
                Style::Faint => Attribute::Dim,
            };
            let row = u16::try_from(n).unwrap_or(u16::MAX);
            queue!(bytes, MoveTo(0, row), SetAttribute(attribute), Print(text))?;
            queue!(bytes, SetAttribute(Attribute::Reset), Clear(ClearType::UntilNewLine))?;
        }
        queue!(bytes, Clear(ClearType::FromCursorDown), EndSynchronizedUpdate)?;
        Ok(bytes)
    }

    /// The bytes that give the terminal back.
    pub(crate) fn leave(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if std::mem::take(&mut self.entered) {
            queue!(bytes, EndSynchronizedUpdate, SetAttribute(Attribute::Reset), Show, LeaveAlternateScreen)?;
        }
        Ok(bytes)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Ok(bytes) = self.leave()
            && !bytes.is_empty()
        {
            // Nothing is left to be done about a terminal that went away.
            let _ = execute!(io::stdout(), Print(String::from_utf8_lossy(&bytes)))
                .and_then(|()| io::stdout().flush());
        }
    }
}

/// A snapshot as lines. The oldest events give way when the terminal is low.
fn frame(snapshot: &Snapshot, events: &[RunEvent], width: usize, height: usize) -> Vec<Line> {
    let mut lines = vec![title(snapshot, width), (Style::Plain, String::new())];
    let Snapshot { produced, processed, duplicates, order_violations, .. } = snapshot;
    lines.push((
        Style::Plain,
        format!(
            "  produced {}   handled {}   handled twice {}   out of order {}",
            Count(*produced),
            Count(*processed),
            Count(*duplicates),
            Count(*order_violations)
        ),
    ));
    lines.push((Style::Plain, String::new()));
    lines.push((
        Style::Strong,
        format!(
            "  {:>5}  {:<12}{:>6}  {:<14}{:>10}{:>12}",
            "shard", "owner", "epoch", "position", "lag", "records/s"
        ),
    ));
    lines.extend(snapshot.shards.iter().map(shard_line));
    lines.push((Style::Plain, String::new()));
    lines.extend(worker_lines(snapshot, width));
    lines.push((Style::Plain, String::new()));
    lines.push((Style::Strong, format!("  now   {}", snapshot.now)));
    lines.push((
        Style::Plain,
        snapshot.next.as_ref().map(|next| format!("  next  {next}")).unwrap_or_default(),
    ));
    lines.push((Style::Plain, String::new()));
    let room = height.saturating_sub(lines.len() + 1);
    let recent = &events[events.len().saturating_sub(room)..];
    lines.extend(
        recent
            .iter()
            .map(|event| (Style::Plain, format!("  {:>5}  {}", Clock(event.at).to_string(), event.text))),
    );
    lines.truncate(height);
    for (_, text) in &mut lines {
        if let Some((end, _)) = text.char_indices().nth(width) {
            text.truncate(end);
        }
    }
    lines
}

fn title(snapshot: &Snapshot, width: usize) -> Line {
    let left = "rokini demo   worker processes of one group on an embedded Kinesis";
    let right = format!("{} of {}", Clock(snapshot.at.min(snapshot.end)), Clock(snapshot.end));
    let gap = width.min(80).saturating_sub(left.len() + right.len()).max(1);
    (Style::Strong, format!("{left}{:gap$}{right}", ""))
}

fn shard_line(line: &ShardLine) -> Line {
    let ShardLine { shard, owner, epoch, position, finished, lag, records_per_second } = line;
    let owner = owner.as_deref().filter(|_| !finished).unwrap_or("-");
    let start =
        format!("  {:>5}  {owner:<12}{epoch:>6}  {:<14}", shard_number(shard), shown_position(position));
    if *finished {
        return (Style::Faint, start.trim_end().to_owned());
    }
    (Style::Plain, format!("{start}{:>10}{records_per_second:>12}", Seconds(*lag).to_string()))
}

/// A stored position in few letters.
fn shown_position(position: &str) -> String {
    match position.split_once(':') {
        None if position == "SHARD_END" => "finished".to_owned(),
        None if position == "TRIM_HORIZON" => "beginning".to_owned(),
        None => position.to_owned(),
        Some((_, number)) => {
            let digits = number.len();
            if digits <= POSITION_DIGITS {
                number.to_owned()
            } else {
                format!("..{}", &number[digits - POSITION_DIGITS..])
            }
        }
    }
}

fn worker_lines(snapshot: &Snapshot, width: usize) -> Vec<Line> {
    let columns = (width.min(80) / 26).max(1);
    let cell = |worker: &WorkerLine| {
        let what = match (worker.state, worker.shards) {
            ("running", 1) => "1 shard".to_owned(),
            ("running", shards) => format!("{shards} shards"),
            (state, _) => state.to_owned(),
        };
        format!("  {:<11}{what:<13}", worker.name)
    };
    snapshot
        .workers
        .chunks(columns)
        .map(|row| (Style::Plain, row.iter().map(cell).collect::<String>().trim_end().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::WorkerLine;
    use super::*;

    fn snapshot() -> Snapshot {
        let shard = |n: usize, owner: Option<&str>, position: &str| ShardLine {
            shard: format!("shardId-{n:012}"),
            owner: owner.map(str::to_owned),
            epoch: 2,
            position: position.to_owned(),
            finished: position == "SHARD_END",
            lag: Duration::from_millis(80),
            records_per_second: 51,
        };
        let worker = |n: usize, state, shards| WorkerLine { name: format!("worker-{n}"), state, shards };
        Snapshot {
            at: Duration::from_secs(23),
            end: Duration::from_secs(60),
            produced: 4600,
            processed: 4583,
            duplicates: 0,
            order_violations: 0,
            now: "worker-3 was killed: its shards come back after the failover time, 10 s".to_owned(),
            next: Some("a new worker joins in 19 s".to_owned()),
            shards: vec![
                shard(0, None, "SHARD_END"),
                shard(1, Some("worker-1"), "AFTER:49590338271490256608559692538361571095921575989136588898"),
                shard(2, None, "TRIM_HORIZON"),
            ],
            workers: vec![
                worker(1, "running", 2),
                worker(2, "running", 1),
                worker(3, "killed", 0),
                worker(4, "running", 0),
            ],
        }
    }

    fn events(count: u64) -> Vec<RunEvent> {
        (0..count).map(|n| RunEvent::new(Duration::from_secs(n), "note", format!("event {n}"))).collect()
    }

    fn texts(lines: &[Line]) -> String {
        lines.iter().map(|(_, text)| format!("{text}\n")).collect()
    }

    #[test]
    fn a_snapshot_at_80_columns() {
        let expected = "\
rokini demo   worker processes of one group on an embedded Kinesis  0:23 of 1:00

  produced 4,600   handled 4,583   handled twice 0   out of order 0

  shard  owner        epoch  position             lag   records/s
      0  -                2  finished
      1  worker-1         2  ..989136588898    0.08 s          51
      2  -                2  beginning         0.08 s          51

  worker-1   2 shards       worker-2   1 shard        worker-3   killed
  worker-4   0 shards

  now   worker-3 was killed: its shards come back after the failover time, 10 s
  next  a new worker joins in 19 s

   0:00  event 0
   0:01  event 1
";
        assert_eq!(texts(&frame(&snapshot(), &events(2), 80, 24)), expected);
    }

    #[test]
    fn a_small_terminal_shows_the_latest_and_nothing_beyond_its_size() {
        let lines = frame(&snapshot(), &events(30), 40, 20);
        assert!(lines.len() <= 20);
        assert!(lines.iter().all(|(_, text)| text.chars().count() <= 40));
        assert!(texts(&lines).ends_with("event 29\n"), "{}", texts(&lines));
        assert_eq!(frame(&snapshot(), &events(30), 80, 5).len(), 5);
    }

    #[test]
    fn the_terminal_is_entered_once_and_left_once() {
        let mut screen = Screen::new(true);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert_eq!(text(screen.leave().unwrap()), "", "never entered");
        let first = text(screen.draw(&snapshot(), &[]).unwrap());
        let second = text(screen.draw(&snapshot(), &[]).unwrap());
        assert!(first.contains("\x1b[?1049h") && !second.contains("\x1b[?1049h"));
        assert!(!second.contains("\x1b[2J"), "clearing everything would flicker");
        assert!(text(screen.leave().unwrap()).contains("\x1b[?1049l"));
        assert_eq!(text(screen.leave().unwrap()), "");
    }
}
