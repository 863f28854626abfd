//! A run as one SVG: the shards over time in the colours of their owners, what was done, and how long records waited.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::time::Duration;

use super::event::RunEvent;
use super::format::{Clock, Seconds, shard_number};
use super::timeline::{Owner, Timeline};

/// Pixels: the width, where the time axis begins and ends, a row of a shard, and the curve below.
const WIDTH: f64 = 960.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 940.0;
const TOP: f64 = 84.0;
const ROW: f64 = 22.0;
const BAR: f64 = 16.0;
const CURVE: f64 = 64.0;
/// What a label above the rows needs.
const LABEL: f64 = 58.0;

/// Told apart on a light and on a dark ground, also by those who do not see red or green.
const COLOURS: [&str; 8] =
    ["#3f8fd2", "#e69138", "#3aa17e", "#cc6fa3", "#8f7ad1", "#b3a125", "#5bb3c9", "#d1603d"];

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#1f2328}.strong{font-weight:600;font-size:14px}.faint{fill:#59636e}\
.ground{fill:#fff}.rule{stroke:#d1d9e0}.mark{stroke:#59636e;stroke-dasharray:3 3}.none{fill:#d1d9e0}\
.curve{fill:#cf222e;fill-opacity:.25;stroke:#cf222e}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.faint{fill:#9198a1}.ground{fill:#0d1117}.rule{stroke:#3d444d}\
.mark{stroke:#9198a1}.none{fill:#3d444d}.curve{fill:#ff7b72;stroke:#ff7b72}}";

/// A run to be drawn as SVG: which worker had each shard when, and what happened.
pub(crate) struct Picture<'a> {
    pub(crate) title: String,
    pub(crate) timeline: &'a Timeline,
    pub(crate) events: &'a [RunEvent],
    /// When the run ended.
    pub(crate) end: Duration,
    /// What the run proved, in sentences.
    pub(crate) result: String,
}

impl Picture<'_> {
    /// The whole file.
    pub(crate) fn svg(&self) -> String {
        let mut svg = String::new();
        // Writing to a String cannot fail.
        let _ = self.draw(&mut svg);
        svg
    }

    fn draw(&self, f: &mut String) -> fmt::Result {
        let rows = self.timeline.owners.len() as f64 * ROW;
        let height = TOP + rows + CURVE + 122.0;
        let (title, result) = (&self.title, &self.result);
        writeln!(
            f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
             aria-labelledby=\"t d\"><title id=\"t\">{title}</title><desc id=\"d\">{result}</desc>\
             <style>{STYLE}</style><rect class=\"ground\" width=\"100%\" height=\"100%\" rx=\"6\"/>"
        )?;
        writeln!(f, "<text class=\"strong\" x=\"20\" y=\"30\">{title}</text>")?;
        self.legend(f)?;
        self.owners(f)?;
        self.marks(f, rows)?;
        self.curve(f, TOP + rows + 34.0)?;
        self.axis(f, TOP + rows + CURVE + 56.0)?;
        writeln!(f, "<text class=\"strong\" x=\"20\" y=\"{}\">{result}</text>\n</svg>", height - 18.0)
    }

    fn x(&self, at: Duration) -> f64 {
        LEFT + (RIGHT - LEFT) * (at.as_secs_f64() / self.end.as_secs_f64().max(0.001)).min(1.0)
    }

    /// The workers by name, in the order of their colours.
    fn workers(&self) -> Vec<&str> {
        let owners = self.timeline.owners.values().flatten();
        let names: BTreeSet<&str> = owners
            .filter_map(|(_, owner)| match owner {
                Owner::Worker { name, .. } => Some(name.as_str()),
                Owner::Nobody | Owner::Finished => None,
            })
            .collect();
        let mut names: Vec<&str> = names.into_iter().collect();
        names.sort_by_key(|name| (name.len(), *name));
        names
    }

    fn legend(&self, f: &mut String) -> fmt::Result {
        let workers = self.workers();
        let mut entries: Vec<_> =
            workers.iter().zip(COLOURS).map(|(name, colour)| (*name, format!("fill=\"{colour}\""))).collect();
        entries.push(("no owner", "class=\"none\"".to_owned()));
        let mut x = LEFT;
        for (name, fill) in entries {
            writeln!(f, "<rect x=\"{x}\" y=\"43\" width=\"12\" height=\"12\" rx=\"2\" {fill}/>")?;
            writeln!(f, "<text x=\"{}\" y=\"53\">{name}</text>", x + 17.0)?;
            x += 88.0;
        }
        writeln!(f, "<text class=\"faint\" x=\"{x}\" y=\"53\">pale: its owner is dead or frozen</text>")
    }

    fn owners(&self, f: &mut String) -> fmt::Result {
        let workers = self.workers();
        for (row, (shard, changes)) in self.timeline.owners.iter().enumerate() {
            let y = TOP + row as f64 * ROW;
            writeln!(f, "<text x=\"20\" y=\"{}\">shard {}</text>", y + 12.5, shard_number(shard))?;
            let ends = changes.iter().skip(1).map(|(at, _)| *at).chain([self.end]);
            for ((begun, owner), ended) in changes.iter().zip(ends) {
                let (fill, what) = match owner {
                    Owner::Finished => continue,
                    Owner::Nobody => ("class=\"none\"".to_owned(), "no owner"),
                    Owner::Worker { name, alive } => {
                        let place = workers.iter().position(|worker| worker == name).unwrap_or_default();
                        let pale = if *alive { "" } else { " opacity=\".35\"" };
                        (format!("fill=\"{}\"{pale}", COLOURS[place % COLOURS.len()]), name.as_str())
                    }
                };
                let (x, width) = (self.x(*begun), self.x(ended) - self.x(*begun));
                writeln!(
                    f,
                    "<rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\" {fill}><title>{what}</title></rect>"
                )?;
            }
        }
        Ok(())
    }

    /// What was done, as lines through all rows, with a word where there is room.
    fn marks(&self, f: &mut String, rows: f64) -> fmt::Result {
        let mut free = LEFT;
        for RunEvent { at, event, text } in self.events {
            if !["split", "reshard", "stop", "kill", "freeze", "resume", "join", "failure"].contains(event) {
                continue;
            }
            let (x, bottom) = (self.x(*at), TOP + rows + 34.0 + CURVE);
            writeln!(
                f,
                "<line class=\"mark\" x1=\"{x:.1}\" y1=\"{}\" x2=\"{x:.1}\" y2=\"{bottom}\"><title>{text}</title></line>",
                TOP - 6.0
            )?;
            if x >= free {
                writeln!(f, "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{event}</text>", TOP - 10.0)?;
                free = x + LABEL;
            }
        }
        Ok(())
    }

    /// The age of the oldest unhandled record.
    fn curve(&self, f: &mut String, top: f64) -> fmt::Result {
        let lags = &self.timeline.lags;
        let highest = lags.iter().map(|(_, lag)| *lag).max().unwrap_or_default();
        let bottom = top + CURVE;
        let mut points = format!("{LEFT},{bottom}");
        for (at, lag) in lags {
            let height = CURVE * lag.as_secs_f64() / highest.as_secs_f64().max(0.001);
            write!(points, " {:.1},{:.1}", self.x(*at), bottom - height)?;
        }
        let last = lags.last().map_or(LEFT, |(at, _)| self.x(*at));
        writeln!(f, "<polygon class=\"curve\" points=\"{points} {last:.1},{bottom}\"/>")?;
        writeln!(f, "<line class=\"rule\" x1=\"{LEFT}\" y1=\"{bottom}\" x2=\"{RIGHT}\" y2=\"{bottom}\"/>")?;
        writeln!(f, "<text x=\"20\" y=\"{}\">{}</text>", top + 10.0, Seconds(highest))?;
        let caption = "age of the oldest unhandled record";
        writeln!(f, "<text class=\"faint\" x=\"{LEFT}\" y=\"{}\">{caption}</text>", top - 6.0)
    }

    fn axis(&self, f: &mut String, y: f64) -> fmt::Result {
        for part in 0..=6 {
            let at = self.end * part / 6;
            let x = self.x(at);
            writeln!(
                f,
                "<text class=\"faint\" x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{}</text>",
                Clock(at)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_every_shard_worker_and_action_and_needs_nothing_from_elsewhere() {
        let mut timeline = Timeline::new(Duration::from_secs(60));
        let worker = |name: &str, alive| Owner::Worker { name: name.to_owned(), alive };
        let second = Duration::from_secs;
        timeline.owners.insert(
            "shardId-000000000007".to_owned(),
            vec![(second(1), worker("worker-2", true)), (second(20), worker("worker-2", false))],
        );
        timeline.owners.insert(
            "shardId-000000000012".to_owned(),
            vec![
                (second(2), Owner::Nobody),
                (second(3), worker("worker-10", true)),
                (second(9), Owner::Finished),
            ],
        );
        timeline.lags = vec![(second(1), second(0)), (second(25), second(5))];
        let events = [
            RunEvent::new(second(20), "kill", "worker-2 was killed.".to_owned()),
            RunEvent::new(second(30), "move", "Shard 7 went.".to_owned()),
        ];
        let (title, result) = ("rokini demo".to_owned(), "Every promise was kept.".to_owned());
        let svg = Picture { title, timeline: &timeline, events: &events, end: second(60), result }.svg();
        for part in [
            "shard 7<",
            "shard 12<",
            ">worker-2<",
            ">worker-10<",
            ">kill<",
            "5.00 s",
            "Every promise",
            "opacity",
        ] {
            assert!(svg.contains(part), "{part}\n{svg}");
        }
        assert!(!svg.contains("Shard 7 went"), "moves show by their colours");
        assert!(!svg.replace("http://www.w3.org/2000/svg", "").contains("http"), "no outside resource");
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        assert!(svg.trim_end().ends_with("</svg>"));
    }
}
