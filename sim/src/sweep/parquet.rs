//! The runs of a sweep as Parquet, the columns of `results.csv` with types; absent values are null.

use super::grid::Cell;
use super::measure::Row;
use anyhow::Result;
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;
use std::sync::Arc;

/// Rows of a group: what a reader holds in memory at once.
const GROUP_ROWS: usize = 1 << 17;

/// One column: its name and what it holds.
struct Column {
    name: &'static str,
    values: Values,
}

/// How a column is made of a run.
enum Values {
    Whole(fn(&One<'_>) -> u64),
    Maybe(fn(&One<'_>) -> Option<u64>),
    Real(fn(&One<'_>) -> f64),
    Text(for<'a> fn(&'a One<'a>) -> &'a str),
}

/// A run with its place in the grid.
struct One<'a> {
    number: usize,
    cell: &'a Cell,
    row: &'a Row,
}

const COLUMNS: &[Column] = &[
    Column { name: "cell", values: Values::Whole(|one| one.number as u64) },
    Column { name: "do", values: Values::Text(|one| one.cell.act.word()) },
    Column { name: "keepalive_ms", values: Values::Whole(|one| millis(one.cell.keepalive)) },
    Column { name: "deadtime_ms", values: Values::Whole(|one| millis(one.cell.deadtime)) },
    Column { name: "links", values: Values::Whole(|one| u64::from(one.cell.links)) },
    Column { name: "loss", values: Values::Real(|one| f64::from(one.cell.loss) / 1e6) },
    Column { name: "delay", values: Values::Text(|one| &one.cell.delay) },
    Column { name: "lasts_ms", values: Values::Maybe(|one| one.cell.lasts.map(millis)) },
    Column { name: "seed", values: Values::Whole(|one| one.row.seed) },
    Column { name: "settled", values: Values::Whole(|one| u64::from(one.row.settled)) },
    Column { name: "detection_us", values: Values::Maybe(|one| one.row.detection) },
    Column { name: "takeover_us", values: Values::Maybe(|one| one.row.takeover) },
    Column { name: "outage_us", values: Values::Whole(|one| one.row.outage) },
    Column { name: "overlap_us", values: Values::Whole(|one| one.row.overlap) },
    Column { name: "mistakes", values: Values::Whole(|one| one.row.mistakes) },
    Column { name: "mistaken_us", values: Values::Whole(|one| one.row.mistaken) },
    Column { name: "observed_us", values: Values::Whole(|one| one.row.observed) },
    Column { name: "steps", values: Values::Whole(|one| one.row.steps) },
    Column { name: "violations", values: Values::Whole(|one| one.row.violations) },
    // The bits of the digest: Parquet's whole numbers have a sign.
    Column { name: "digest", values: Values::Whole(|one| one.row.digest) },
];

/// The whole file.
pub(crate) fn file(cells: &[(&Cell, Vec<Row>)]) -> Result<Vec<u8>> {
    let runs: Vec<One<'_>> = (0..)
        .zip(cells)
        .flat_map(|(number, (cell, rows))| rows.iter().map(move |row| One { number, cell, row }))
        .collect();
    let fields = COLUMNS.iter().map(|column| {
        let (physical, repetition) = match column.values {
            Values::Whole(_) => (Physical::INT64, Repetition::REQUIRED),
            Values::Maybe(_) => (Physical::INT64, Repetition::OPTIONAL),
            Values::Real(_) => (Physical::DOUBLE, Repetition::REQUIRED),
            Values::Text(_) => (Physical::BYTE_ARRAY, Repetition::REQUIRED),
        };
        let logical = matches!(column.values, Values::Text(_)).then_some(LogicalType::String);
        let field = Type::primitive_type_builder(column.name, physical).with_repetition(repetition);
        Ok(Arc::new(field.with_logical_type(logical).build()?))
    });
    let fields = fields.collect::<Result<Vec<_>>>()?;
    let schema = Arc::new(Type::group_type_builder("runs").with_fields(fields).build()?);
    // Not the version of the library: the same runs are the same bytes when it is updated for its own sake.
    let properties = WriterProperties::builder().set_created_by("hbsim".to_owned()).build();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties))?;
    for group in runs.chunks(GROUP_ROWS) {
        let mut group_writer = writer.next_row_group()?;
        for column in COLUMNS {
            match column.values {
                Values::Whole(of) => {
                    let values: Vec<i64> = group.iter().map(|one| of(one).cast_signed()).collect();
                    column_of::<Int64Type, _>(&mut group_writer, &values, None)?;
                }
                Values::Maybe(of) => {
                    let found: Vec<Option<u64>> = group.iter().map(of).collect();
                    let levels: Vec<i16> = found.iter().map(|value| i16::from(value.is_some())).collect();
                    let values: Vec<i64> = found.into_iter().flatten().map(u64::cast_signed).collect();
                    column_of::<Int64Type, _>(&mut group_writer, &values, Some(&levels))?;
                }
                Values::Real(of) => {
                    let values: Vec<f64> = group.iter().map(of).collect();
                    column_of::<DoubleType, _>(&mut group_writer, &values, None)?;
                }
                Values::Text(of) => {
                    let values: Vec<ByteArray> = group.iter().map(|one| ByteArray::from(of(one))).collect();
                    column_of::<ByteArrayType, _>(&mut group_writer, &values, None)?;
                }
            }
        }
        group_writer.close()?;
    }
    writer.close()?;
    Ok(bytes)
}

/// Writes the next column of a group; `levels` says which rows have a value.
fn column_of<T: DataType, W: std::io::Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<()> {
    if let Some(mut column) = group.next_column()? {
        column.typed::<T>().write_batch(values, levels, None)?;
        column.close()?;
    }
    Ok(())
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::grid::Act;
    use super::*;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;
    use std::time::Duration;

    #[test]
    fn what_is_written_is_read_again_with_its_types() {
        let cell = Cell {
            act: Act::Crash,
            keepalive: Duration::from_millis(250),
            deadtime: Duration::from_secs(3),
            links: 2,
            loss: 50_000,
            delay: "uniform 1ms 2ms".to_owned(),
            lasts: None,
            watch: Duration::from_secs(9),
            has_group: true,
        };
        let rows = vec![
            Row { seed: 1, detection: Some(2_900_000), ..Row::default() },
            Row { seed: 2, digest: u64::MAX, ..Row::default() },
        ];
        let bytes = file(&[(&cell, rows)]).unwrap();
        let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 2);
        let field = |row: usize, name: &str| {
            rows[row].get_column_iter().find(|(column, _)| *column == name).map(|(_, field)| field.clone()).unwrap()
        };
        assert_eq!(field(0, "do"), Field::Str("crash".to_owned()));
        assert_eq!(field(0, "loss"), Field::Double(0.05));
        assert_eq!((field(0, "detection_us"), field(1, "detection_us")), (Field::Long(2_900_000), Field::Null));
        assert_eq!(field(1, "digest"), Field::Long(-1));
    }
}
