//! The live table on a terminal.

use std::fmt;
use std::io::{self, Write};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::style::{Attribute, Color, Print, SetAttribute, SetForegroundColor};
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
    /// What should not be.
    Bad,
    /// In the colour of the worker of this number.
    Worker(usize),
}

/// As in the picture of a run: told apart on a light and on a dark ground.
const COLORS: [Color; 6] =
    [Color::Blue, Color::DarkYellow, Color::Green, Color::Magenta, Color::Cyan, Color::Red];

/// Pieces, one after the other.
type Line = Vec<(Style, String)>;

fn line(style: Style, text: impl Into<String>) -> Line {
    vec![(style, text.into())]
}

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
        for (n, line) in frame(snapshot, events, width.into(), height.into()).into_iter().enumerate() {
            queue!(bytes, MoveTo(0, u16::try_from(n).unwrap_or(u16::MAX)))?;
            for (style, text) in line {
                match style {
                    _ if !self.styled => {}
                    Style::Plain => {}
                    Style::Strong => queue!(bytes, SetAttribute(Attribute::Bold))?,
                    Style::Faint => queue!(bytes, SetAttribute(Attribute::Dim))?,
                    Style::Bad => {
                        queue!(bytes, SetAttribute(Attribute::Bold), SetForegroundColor(Color::Red))?;
                    }
                    Style::Worker(n) => queue!(bytes, SetForegroundColor(COLORS[n % COLORS.len()]))?,
                }
                queue!(bytes, Print(text), SetAttribute(Attribute::Reset))?;
            }
            queue!(bytes, Clear(ClearType::UntilNewLine))?;
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
    let columns = Columns::within(width);
    let blank = || line(Style::Plain, "");
    let mut lines = vec![title(snapshot, width), blank()];
    lines.extend(counts(snapshot, width));
    lines.push(blank());
    lines.push(line(
        Style::Strong,
        columns.row("shard", "owner", "epoch", "position", "lag", "records/s").concat(),
    ));
    lines.extend(snapshot.shards.iter().map(|shard| shard_line(shard, snapshot, columns)));
    lines.push(blank());
    lines.extend(worker_lines(snapshot, width));
    lines.push(blank());
    lines.push(line(Style::Strong, format!("  now   {}", snapshot.now)));
    let next = snapshot.next.as_ref().map(|next| format!("  next  {next}"));
    lines.push(line(Style::Plain, next.unwrap_or_default()));
    lines.push(blank());
    let room = height.saturating_sub(lines.len() + 1);
    let recent = &events[events.len().saturating_sub(room)..];
    lines.extend(
        recent
            .iter()
            .map(|event| line(Style::Plain, format!("  {:>5}  {}", Clock(event.at).to_string(), event.text))),
    );
    lines.truncate(height);
    lines.iter_mut().for_each(|line| cut(line, width));
    lines
}

/// Takes away what is beyond the width.
fn cut(line: &mut Line, width: usize) {
    let mut left = width;
    for (_, text) in line {
        match text.char_indices().nth(left) {
            Some((end, _)) => {
                text.truncate(end);
                left = 0;
            }
            None => left -= text.chars().count(),
        }
    }
}

fn title(snapshot: &Snapshot, width: usize) -> Line {
    let left = match width {
        70.. => "rokini demo   worker processes of one group on an embedded Kinesis",
        _ => "rokini demo",
    };
    let right = format!("{} of {}", Clock(snapshot.at.min(snapshot.end)), Clock(snapshot.end));
    let gap = width.min(80).saturating_sub(left.len() + right.len()).max(1);
    line(Style::Strong, format!("{left}{:gap$}{right}", ""))
}

/// What was done, in one line where there is room.
fn counts(snapshot: &Snapshot, width: usize) -> Vec<Line> {
    let Snapshot { produced, processed, duplicates, order_violations, .. } = snapshot;
    let mut done =
        line(Style::Plain, format!("  produced {}   handled {}", Count(*produced), Count(*processed)));
    let style = if *order_violations > 0 { Style::Bad } else { Style::Plain };
    let twice = (Style::Plain, format!("handled twice {}", Count(*duplicates)));
    let disorder = (style, format!("   out of order {}", Count(*order_violations)));
    if width < 70 {
        return vec![done, vec![(Style::Plain, "  ".to_owned()), twice, disorder]];
    }
    done.extend([(Style::Plain, "   ".to_owned()), twice, disorder]);
    vec![done]
}

/// Which columns of the table of shards there is room for. What a shard does stays longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Columns {
    position: bool,
    epoch: bool,
    /// The width of the owner.
    owner: usize,
}

impl Columns {
    fn within(width: usize) -> Self {
        Self { position: width >= 65, epoch: width >= 49, owner: if width >= 43 { 12 } else { 9 } }
    }

    /// The cells of a row: before the owner, the owner, and behind it.
    fn row(
        self,
        shard: impl fmt::Display,
        owner: &str,
        epoch: impl fmt::Display,
        position: &str,
        lag: impl fmt::Display,
        rate: impl fmt::Display,
    ) -> [String; 3] {
        let mut rest = String::new();
        if self.epoch {
            rest += &format!("{epoch:>6}");
        }
        if self.position {
            rest += &format!("  {position:<14}");
        }
        rest += &format!("{lag:>10}{rate:>12}");
        let owner: String = owner.chars().take(self.owner).collect();
        [format!("  {shard:>5}  "), format!("{owner:<width$}", width = self.owner), rest]
    }
}

fn shard_line(shard: &ShardLine, snapshot: &Snapshot, columns: Columns) -> Line {
    let owner = shard.owner.as_deref().filter(|_| !shard.finished).unwrap_or("-");
    let number = shard_number(&shard.shard).to_string();
    let position = shown_position(&shard.position);
    if shard.finished {
        let row = columns.row(number, owner, shard.epoch, &position, "", "").concat();
        return line(Style::Faint, row.trim_end());
    }
    let lag = Seconds(shard.lag).to_string();
    let [before, owner, rest] =
        columns.row(number, owner, shard.epoch, &position, lag, shard.records_per_second);
    let name = shard.owner.as_deref();
    let place = snapshot.workers.iter().position(|worker| Some(worker.name.as_str()) == name);
    vec![(Style::Plain, before), (place.map_or(Style::Plain, Style::Worker), owner), (Style::Plain, rest)]
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
    let cell = |(place, worker): &(usize, &WorkerLine)| -> Line {
        let (style, what) = match (worker.state, worker.shards) {
            ("running", 1) => (Style::Plain, "1 shard".to_owned()),
            ("running", shards) => (Style::Plain, format!("{shards} shards")),
            (state, _) => (Style::Bad, state.to_owned()),
        };
        let name = (Style::Worker(*place), format!("{:<11}", worker.name));
        vec![(Style::Plain, "  ".to_owned()), name, (style, format!("{what:<13}"))]
    };
    let workers: Vec<(usize, &WorkerLine)> = snapshot.workers.iter().enumerate().collect();
    let mut lines: Vec<Line> =
        workers.chunks(columns).map(|row| row.iter().flat_map(cell).collect()).collect();
    for (_, last) in lines.iter_mut().filter_map(|line| line.last_mut()) {
        last.truncate(last.trim_end().len());
    }
    lines
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
        let text = |line: &Line| line.iter().map(|(_, text)| text.as_str()).collect::<String>();
        lines.iter().map(|line| format!("{}\n", text(line))).collect()
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
        assert!(texts(&lines).lines().all(|text| text.chars().count() <= 40));
        assert!(texts(&lines).ends_with("event 29\n"), "{}", texts(&lines));
        assert_eq!(frame(&snapshot(), &events(30), 80, 5).len(), 5);
    }

    #[test]
    fn what_shards_do_stays_in_40_columns_and_15_lines() {
        let expected = "\
rokini demo                 0:23 of 1:00

  produced 4,600   handled 4,583
  handled twice 0   out of order 0

  shard  owner           lag   records/s
      0  -
      1  worker-1     0.08 s          51
      2  -            0.08 s          51

  worker-1   2 shards
  worker-2   1 shard
  worker-3   killed
  worker-4   0 shards

";
        assert_eq!(texts(&frame(&snapshot(), &events(30), 40, 15)), expected);
        let wide = texts(&frame(&snapshot(), &[], 50, 15));
        assert!(wide.contains("epoch") && !wide.contains("position"), "{wide}");
    }

    #[test]
    fn workers_have_colours_and_without_them_nothing_is_lost() {
        let drawn = |styled| {
            let mut screen = Screen::new(styled);
            let bytes = screen.draw(&snapshot(), &[]).unwrap();
            screen.leave().unwrap();
            String::from_utf8(bytes).unwrap()
        };
        let (with, without) = (drawn(true), drawn(false));
        let mut blue = String::new();
        crossterm::Command::write_ansi(&SetForegroundColor(COLORS[0]), &mut blue).unwrap();
        // The owner of a shard, and the worker itself.
        assert_eq!(with.matches(&format!("{blue}worker-1")).count(), 2, "{with:?}");
        assert!(!without.contains(&blue) && without.contains("worker-1"));
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
