//! Labels in rows, so that none covers another.

use super::axis::Tenths;

/// Between two labels of one row.
const GAP: Tenths = 120;

/// A label that has its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// Where its mark is.
    pub(super) x: Tenths,
    /// Where its text begins: at the mark, or so that it ends there where it would leave the picture.
    pub(super) text_x: Tenths,
    /// Its row; `None` if there are more labels than room.
    pub(super) row: Option<usize>,
}

/// Gives each label, as the place of its mark and its width in ascending order of places, the first row where it fits.
///
/// The first label of a crowd gets row 0 and each further one a row below. Lines drawn from labels past the higher rows'
/// numbers to their marks then rarely cross a text.
pub(super) fn place(labels: &[(Tenths, Tenths)], (left, right): (Tenths, Tenths), rows: usize) -> Vec<Placed> {
    let mut ends: Vec<Tenths> = Vec::new();
    let placed = labels.iter().map(|&(x, width)| {
        let text_x = match (x + width <= right, x - width >= left) {
            (true, _) => x,
            (false, true) => x - width,
            (false, false) => (right - width).max(left),
        };
        let row = ends.iter().position(|end| end + GAP <= text_x).or_else(|| {
            (ends.len() < rows).then(|| {
                ends.push(0);
                ends.len() - 1
            })
        });
        if let Some(row) = row {
            ends[row] = text_x + width;
        }
        Placed { x, text_x, row }
    });
    placed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_one_row_do_not_touch_and_stay_inside() {
        let labels: Vec<(Tenths, Tenths)> = (0..100).map(|at| (at * 97 % 9000, 300 + at * 31 % 900)).collect();
        let mut labels = labels;
        labels.sort_unstable();
        let placed = place(&labels, (0, 9000), 12);
        for (at, one) in placed.iter().enumerate() {
            assert!(one.text_x + labels[at].1 <= 9000);
            for other in 0..at {
                let apart = placed[other].text_x + labels[other].1 + GAP <= one.text_x;
                assert!(one.row.is_none() || placed[other].row != one.row || apart, "{one:?} {:?}", placed[other]);
            }
        }
        assert!(placed.iter().any(|one| one.row.is_none()), "there was no room for all");
    }
}
