//! A file of lines, and its lines with their numbers.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;

use crate::compression::{Decompress, reader};
use crate::error::{CliError, Status};

/// A file of lines.
#[derive(Debug, Clone)]
pub(super) struct LineFile {
    /// `None` for standard input.
    path: Option<PathBuf>,
    /// What `--decompress` says, where the command has it; without it compressed files are recognised.
    decompress: Option<Decompress>,
}

impl LineFile {
    /// The name `-` is standard input.
    pub(super) fn new(path: Option<PathBuf>, decompress: Option<Decompress>) -> Self {
        Self { path: path.filter(|path| path.as_os_str() != "-"), decompress }
    }

    pub(super) fn name(&self) -> String {
        match &self.path {
            Some(path) => path.display().to_string(),
            None => "standard input".to_owned(),
        }
    }

    pub(super) fn open(&self) -> Result<Lines, CliError> {
        let decompress = self.decompress.unwrap_or(Decompress::Auto);
        let input: io::Result<Box<dyn BufRead + Send>> = match &self.path {
            Some(path) => {
                let file = File::open(path)
                    .map_err(|error| self.unreadable(&error).next("check the name, and who may read it"))?;
                reader(BufReader::with_capacity(64 << 10, file), decompress)
            }
            None => reader(BufReader::with_capacity(64 << 10, io::stdin()), decompress),
        };
        let input = input.map_err(|error| self.broken(&error))?;
        Ok(Lines { file: self.clone(), input, number: 0 })
    }

    fn unreadable(&self, error: &io::Error) -> CliError {
        CliError::new(Status::FAILED, format!("cannot read {}", self.name())).because(error)
    }

    fn broken(&self, error: &io::Error) -> CliError {
        self.unreadable(error).next(match self.decompress {
            Some(Decompress::Auto) => "check that it is whole; `--decompress none` takes it as it is",
            _ => "check that it is whole",
        })
    }
}

/// Lines of a file, with their numbers.
pub(super) struct Lines {
    file: LineFile,
    input: Box<dyn BufRead + Send>,
    number: u64,
}

impl Lines {
    /// Which line was read last.
    pub(super) fn place(&self) -> String {
        format!("line {} of {}", self.number, self.file.name())
    }

    /// The next line without its line break; `None` at the end. Holds no more than `most` bytes of it: of a longer one
    /// `too_long` makes the error, by its place.
    pub(super) fn next(
        &mut self,
        most: usize,
        too_long: impl Fn(&str) -> CliError,
    ) -> Result<Option<Vec<u8>>, CliError> {
        self.number += 1;
        let mut line = Vec::new();
        loop {
            let available = match self.input.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.file.broken(&error)),
            };
            let end = available.iter().position(|byte| *byte == b'\n');
            let part = &available[..end.unwrap_or(available.len())];
            if line.len() + part.len() > most {
                return Err(too_long(&self.place()));
            }
            line.extend_from_slice(part);
            let (read, is_end) = (part.len(), available.is_empty());
            self.input.consume(read + usize::from(end.is_some()));
            match (end, is_end) {
                (Some(_), _) => return Ok(Some(line)),
                (None, true) => return Ok((!line.is_empty()).then_some(line)),
                (None, false) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn lines(text: &[u8]) -> Lines {
        let input = BufReader::with_capacity(4, Cursor::new(text.to_vec()));
        Lines { file: LineFile::new(None, None), input: Box::new(input), number: 0 }
    }

    #[test]
    fn lines_are_whole_and_bounded() {
        let too_long = |place: &str| CliError::usage(format!("{place} is too long"));
        let mut read = lines(b"one\r\n\ntwo and more\nend");
        let mut next =
            |most| read.next(most, too_long).map(|line| line.map(|line| String::from_utf8(line).unwrap()));
        assert_eq!(next(4).unwrap().as_deref(), Some("one\r"), "a carriage return is data");
        assert_eq!(next(4).unwrap().as_deref(), Some(""));
        assert_eq!(next(4).unwrap_err().what, "line 3 of standard input is too long");
        let mut read = lines(b"one\nend");
        assert_eq!(read.next(3, too_long).unwrap().unwrap(), b"one");
        assert_eq!(read.next(3, too_long).unwrap().unwrap(), b"end", "without a line break");
        assert_eq!(read.next(3, too_long).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_read_has_only_options_that_the_command_has() {
        for (decompress, has_option) in
            [(None, false), (Some(Decompress::None), false), (Some(Decompress::Auto), true)]
        {
            let broken = LineFile::new(None, decompress).broken(&io::ErrorKind::InvalidData.into());
            assert_eq!(broken.next.unwrap().contains("--decompress"), has_option);
            let missing = LineFile::new(Some("no/such".into()), decompress).open().err().unwrap();
            assert_eq!(missing.next.unwrap(), "check the name, and who may read it");
        }
    }
}
