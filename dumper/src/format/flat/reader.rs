//! Reading the file of a flattened stream at any offset, without restoring it.

use super::{END, FlatError, HEADER, check_header, judge};
use crate::addr::PhysAddr;
use crate::format::In;
use crate::vmcore::{Extents, Segment};
use std::io;

/// More records than this are not remembered: 256 GiB of the smallest records that anybody writes.
const MAX_RECORDS: usize = 1 << 22;
/// Records that overlap each other in one place. Writers rewrite a header or two.
const MAX_OVERLAPS: usize = 1 << 16;

/// A run of the file: `len` bytes that belong at `start` are at `at` of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    start: u64,
    len: u64,
    at: u64,
}

impl Run {
    fn end(&self) -> u64 {
        self.start.saturating_add(self.len)
    }
}

/// The file in a flattened stream.
pub struct FlatIn {
    stream: Box<dyn In>,
    /// By ascending start, disjoint.
    runs: Vec<Run>,
    len: u64,
    truncated: bool,
}

impl FlatIn {
    /// Walks the record headers of `stream`.
    ///
    /// # Errors
    /// When it is no flattened stream, or a record makes no sense.
    pub fn open(stream: Box<dyn In>) -> Result<Self, FlatError> {
        let mut head = vec![0; HEADER];
        if stream.len() >= HEADER as u64 {
            stream.read_at(0, &mut head).map_err(FlatError::Read)?;
        }
        check_header(&head)?;
        let (runs, truncated) = walk(stream.as_ref())?;
        let runs = disjoint(runs)?;
        Ok(Self {
            stream,
            len: runs.last().map_or(0, Run::end),
            runs,
            truncated,
        })
    }

    /// Whether the stream lacks its end marker: it was cut off.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }
}

/// All records in the order of the stream, and whether the end marker is missing. Of a record that is cut off its first bytes count.
fn walk(stream: &dyn In) -> Result<(Vec<Run>, bool), FlatError> {
    let mut runs: Vec<Run> = Vec::new();
    let mut at = HEADER as u64;
    loop {
        let mut header = [0; END.len()];
        let data = at.saturating_add(header.len() as u64);
        if data > stream.len() {
            return Ok((runs, true));
        }
        stream.read_at(at, &mut header).map_err(FlatError::Read)?;
        if header == END {
            return Ok((runs, false));
        }
        let (start, size) = judge(header, runs.len() as u64)?;
        let len = size.min(stream.len() - data);
        if len != 0 {
            if runs.len() == MAX_RECORDS || runs.try_reserve(1).is_err() {
                return Err(FlatError::TooMany);
            }
            runs.push(Run {
                start,
                len,
                at: data,
            });
        }
        if len < size {
            return Ok((runs, true));
        }
        at = data + size;
    }
}

/// Sorts `runs` and lets the later of two that overlap win.
fn disjoint(mut runs: Vec<Run>) -> Result<Vec<Run>, FlatError> {
    // Later records have a larger `at`.
    runs.sort_unstable_by_key(|r| (r.start, r.at));
    if runs.windows(2).all(|w| w[0].end() <= w[1].start) {
        return Ok(runs);
    }
    let mut result = Vec::new();
    let mut rest = runs.as_slice();
    while let [first, ..] = rest {
        let mut end = first.end();
        let count = rest
            .iter()
            .take_while(|run| {
                let inside = run.start < end || run.start == first.start;
                end = if inside { end.max(run.end()) } else { end };
                inside
            })
            .count();
        let (cluster, others) = rest.split_at(count);
        match cluster {
            [run] => result.push(*run),
            _ if count > MAX_OVERLAPS => return Err(FlatError::TooMany),
            _ => result.extend(resolve(cluster)),
        }
        rest = others;
    }
    Ok(result)
}

/// Overlapping runs as disjoint ones. The first of some extents wins, so the last record goes first.
fn resolve(runs: &[Run]) -> Vec<Run> {
    let mut latest: Vec<&Run> = runs.iter().collect();
    latest.sort_unstable_by_key(|run| std::cmp::Reverse(run.at));
    let segments = latest.iter().map(|run| Segment {
        start: PhysAddr::new(run.start),
        virt: 0,
        offset: run.at,
        file_size: run.len,
        mem_size: run.len,
    });
    let extents = Extents::new(&segments.collect::<Vec<_>>());
    let run = |extent: crate::vmcore::Extent| Run {
        start: extent.start,
        len: extent.end - extent.start,
        at: extent.offset.unwrap_or(0),
    };
    extents.iter().map(run).collect()
}

impl In for FlatIn {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let first = self.runs.partition_point(|run| run.end() <= offset);
        let mut runs = self.runs.iter().skip(first);
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset + done as u64;
            let Some(run) = runs.next() else {
                rest.fill(0);
                break;
            };
            let hole = size(run.start.saturating_sub(at)).min(rest.len());
            let (gap, rest) = rest.split_at_mut(hole);
            gap.fill(0);
            let within = (at + hole as u64).saturating_sub(run.start);
            let part = size(run.len.saturating_sub(within)).min(rest.len());
            if let Some(rest) = rest.get_mut(..part).filter(|rest| !rest.is_empty()) {
                self.stream.read_at(run.at + within, rest)?;
            }
            done += hole + part;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::FlatOut;
    use super::*;
    use crate::format::Out;
    use proptest::prelude::*;

    fn stream(records: &[(u64, Vec<u8>)]) -> Vec<u8> {
        let out = FlatOut::new(Vec::new()).unwrap();
        for (offset, bytes) in records {
            out.write_at(*offset, bytes).unwrap();
        }
        out.finish().unwrap()
    }

    fn all(flat: &FlatIn) -> Vec<u8> {
        let mut bytes = vec![0xee; usize::try_from(flat.len()).unwrap()];
        flat.read_at(0, &mut bytes).unwrap();
        bytes
    }

    proptest! {
        #[test]
        fn gives_the_file_that_restoring_gives(
            records in prop::collection::vec((0u64..200, prop::collection::vec(any::<u8>(), 1..60)), 1..20),
            from in 0usize..100, cut in 0usize..400,
        ) {
            let mut file = Vec::new();
            for (offset, bytes) in &records {
                let start = usize::try_from(*offset).unwrap();
                if file.len() < start + bytes.len() {
                    file.resize(start + bytes.len(), 0);
                }
                file[start..start + bytes.len()].copy_from_slice(bytes);
            }
            let stream = stream(&records);
            let flat = FlatIn::open(Box::new(stream.clone())).unwrap();
            prop_assert!(!flat.is_truncated());
            prop_assert_eq!(&all(&flat), &file);
            prop_assert!(flat.runs.windows(2).all(|w| w[0].end() <= w[1].start));
            let mut part = vec![0xee; file.len() - from.min(file.len())];
            flat.read_at((file.len() - part.len()) as u64, &mut part).unwrap();
            prop_assert!(file.ends_with(&part));
            prop_assert!(flat.read_at(1, &mut vec![0; file.len()]).is_err());
            let len = stream.len().saturating_sub(1 + cut).max(HEADER);
            let flat = FlatIn::open(Box::new(stream[..len].to_vec())).unwrap();
            prop_assert!(flat.is_truncated());
            prop_assert!(all(&flat).len() <= file.len());
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bytes in [b"".to_vec(), b"makedumpfile".to_vec(), vec![0; 9000]] {
            let result = FlatIn::open(Box::new(bytes));
            assert!(matches!(result, Err(FlatError::NotFlat)));
        }
        let mut bad = stream(&[]);
        bad.truncate(HEADER);
        bad.extend([0xff; 8]);
        bad.extend([0; 8]);
        let result = FlatIn::open(Box::new(bad));
        assert!(matches!(result, Err(FlatError::Damaged { .. })));
    }
}
