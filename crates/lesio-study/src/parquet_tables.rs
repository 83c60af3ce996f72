//! Tables of results as Apache Parquet.

use std::error::Error;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lesio_io::atomic::{self, Existing, WriteError};
use lesio_io::spreadsheet::plain;
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::Type;

/// Rows in memory at once, which become a row group.
const ROWS: usize = 1 << 16;

/// Columns of lesio's tables that hold whole numbers, other numbers, and truth values. All others are text.
const INTEGERS: [&str; 11] = [
    "findings",
    "false_findings",
    "found",
    "label",
    "lesion",
    "lesions",
    "marked_normal_pixels",
    "normal_pixels",
    "slice",
    "unlike_slices",
    "voxels",
];
const NUMBERS: [&str; 22] = [
    "dice",
    "dice_high",
    "dice_low",
    "estimate",
    "hd95",
    "hd95_mm",
    "hd95_pixels",
    "i",
    "j",
    "k",
    "level",
    "lower",
    "mean",
    "p_value",
    "peak",
    "score",
    "threshold",
    "upper",
    "volume_ml",
    "x",
    "y",
    "z",
];
const BOOLEANS: [&str; 1] = ["abstained"];

/// Writes a table that lesio wrote as comma-separated values, such as `cases.csv`, as Apache Parquet beside it
/// (`cases.parquet`). Returns the path of the new file.
///
/// Every column is optional; empty cells are null. The numbers of lesio's own columns are 64-bit integers and floating-point
/// numbers, and all else is text, without the apostrophes that keep spreadsheets from running formulas. A column of numbers
/// is text if any of its cells has another form than lesio writes, such as `007` in a column of a manifest.
///
/// # Errors
/// [`ParquetTableError`] if the table cannot be read, or its rows differ in length, or the file cannot be written.
///
/// ```
/// use lesio_io::atomic::Existing;
/// use lesio_io::spreadsheet::CommaTable;
/// use lesio_study::table_to_parquet;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("cases.csv");
/// let mut table = CommaTable::new(["case", "score", "findings"]);
/// table.row(["007".into(), 1.5.into(), 2_usize.into()]);
/// table.write(&path, Existing::Refuse)?;
/// assert_eq!(table_to_parquet(&path, Existing::Refuse)?, folder.path().join("cases.parquet"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn table_to_parquet(csv: impl AsRef<Path>, existing: Existing) -> Result<PathBuf, ParquetTableError> {
    let csv = csv.as_ref();
    let unread = |source: csv::Error| ParquetTableError::Read { path: csv.to_owned(), source: source.into() };
    let names: Vec<String> =
        open(csv).map_err(unread)?.headers().map_err(unread)?.iter().map(plain_text).collect();
    let kinds = kinds(csv, &names).map_err(unread)?;

    let path = csv.with_extension("parquet");
    let unmade =
        |source: ParquetError| ParquetTableError::Encode { path: path.clone(), source: source.into() };
    // Parquet is written to a file of its own, because its writer must be sent between threads.
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let unstored =
        |source: io::Error| ParquetTableError::Encode { path: path.clone(), source: source.into() };
    let mut file = tempfile::tempfile_in(folder).map_err(unstored)?;
    let schema = schema(&names, &kinds).map_err(unmade)?;
    let mut writer =
        SerializedFileWriter::new(&mut file, Arc::new(schema), Arc::default()).map_err(unmade)?;
    let mut rows = Vec::with_capacity(ROWS);
    for row in open(csv).map_err(unread)?.into_records() {
        rows.push(row.map_err(unread)?);
        if rows.len() == ROWS {
            write_rows(&mut writer, &kinds, &rows).map_err(unmade)?;
            rows.clear();
        }
    }
    if !rows.is_empty() {
        write_rows(&mut writer, &kinds, &rows).map_err(unmade)?;
    }
    writer.close().map_err(unmade)?;
    file.rewind().map_err(unstored)?;
    atomic::write(&path, existing, |out| io::copy(&mut file, out).map(drop))?;
    Ok(path)
}

/// Why a table was not written as Parquet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParquetTableError {
    /// The table cannot be read, or its rows differ in length.
    #[error("{}: could not read the table", .path.display())]
    Read {
        /// The table.
        path: PathBuf,
        /// The error of the reader.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The table cannot be encoded.
    #[error("{}: could not encode the table", .path.display())]
    Encode {
        /// The new file.
        path: PathBuf,
        /// The error of the encoder.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The new file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The type of a column.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Number,
    Boolean,
}

impl Kind {
    fn of(column: &str) -> Self {
        if INTEGERS.contains(&column) {
            Self::Integer
        } else if NUMBERS.contains(&column) {
            Self::Number
        } else if BOOLEANS.contains(&column) {
            Self::Boolean
        } else {
            Self::Text
        }
    }

    /// Whether a cell is exactly what lesio writes of a value of this type.
    fn fits(self, cell: &str) -> bool {
        cell.is_empty()
            || match self {
                Self::Text => true,
                Self::Integer => cell.parse().is_ok_and(|value: i64| value.to_string() == cell),
                Self::Number => cell.parse().is_ok_and(|value: f64| value.to_string() == cell),
                Self::Boolean => cell == "true" || cell == "false",
            }
    }

    fn physical(self) -> Physical {
        match self {
            Self::Text => Physical::BYTE_ARRAY,
            Self::Integer => Physical::INT64,
            Self::Number => Physical::DOUBLE,
            Self::Boolean => Physical::BOOLEAN,
        }
    }
}

fn open(path: &Path) -> Result<csv::Reader<std::fs::File>, csv::Error> {
    csv::ReaderBuilder::new().from_path(path)
}

fn plain_text(cell: &str) -> String {
    plain(cell).to_owned()
}

fn kinds(path: &Path, names: &[String]) -> Result<Vec<Kind>, csv::Error> {
    let mut kinds: Vec<Kind> = names.iter().map(|name| Kind::of(name)).collect();
    for row in open(path)?.into_records() {
        for (kind, cell) in kinds.iter_mut().zip(&row?) {
            if !kind.fits(cell) {
                *kind = Kind::Text;
            }
        }
    }
    Ok(kinds)
}

fn schema(names: &[String], kinds: &[Kind]) -> Result<Type, ParquetError> {
    let fields = names.iter().zip(kinds).map(|(name, kind)| {
        let text = (*kind == Kind::Text).then_some(LogicalType::String);
        let column = Type::primitive_type_builder(name, kind.physical());
        Ok(Arc::new(column.with_repetition(Repetition::OPTIONAL).with_logical_type(text).build()?))
    });
    Type::group_type_builder("table").with_fields(fields.collect::<Result<_, ParquetError>>()?).build()
}

fn write_rows<W: Write + Send>(
    writer: &mut SerializedFileWriter<W>,
    kinds: &[Kind],
    rows: &[csv::StringRecord],
) -> Result<(), ParquetError> {
    let mut group = writer.next_row_group()?;
    for (place, kind) in kinds.iter().enumerate() {
        let Some(column) = group.next_column()? else { break };
        let cells = rows.iter().map(|row| row.get(place).unwrap_or_default());
        match kind {
            Kind::Text => write::<ByteArrayType>(column, cells, |cell| Some(ByteArray::from(plain(cell)))),
            Kind::Integer => write::<Int64Type>(column, cells, |cell| cell.parse().ok()),
            Kind::Number => write::<DoubleType>(column, cells, |cell| cell.parse().ok()),
            Kind::Boolean => write::<BoolType>(column, cells, |cell| cell.parse().ok()),
        }?;
    }
    group.close()?;
    Ok(())
}

fn write<'r, T: DataType>(
    mut column: SerializedColumnWriter<'_>,
    cells: impl Iterator<Item = &'r str>,
    value: impl Fn(&str) -> Option<T::T>,
) -> Result<(), ParquetError> {
    // An empty cell is null: it has no value, and the level 0.
    let cells: Vec<Option<T::T>> =
        cells.map(|cell| if cell.is_empty() { None } else { value(cell) }).collect();
    let levels: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    let values: Vec<T::T> = cells.into_iter().flatten().collect();
    column.typed::<T>().write_batch(&values, Some(&levels), None)?;
    column.close()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use lesio_io::spreadsheet::CommaTable;
    use parquet::file::reader::{FileReader, SerializedFileReader};

    use super::*;

    #[test]
    fn values_come_back_with_their_types() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cases.csv");
        let columns = ["case", "score", "voxels", "abstained", "threshold", "label"];
        let mut table = CommaTable::with_further(columns, ["site".to_owned()]);
        let (nothing, huge) = (None::<&str>, 1_u64 << 62);
        table.row_with(
            ["=007".into(), 0.1_f32.into(), huge.into(), true.into(), "validation".into(), "007".into()],
            ["Bern, \"left\"".into()],
        );
        table.row_with(
            ["008".into(), (-1e-300).into(), nothing.into(), false.into(), "0.5".into(), 3_u8.into()],
            [nothing.into()],
        );
        table.write(&path, Existing::Refuse).unwrap();
        let written = table_to_parquet(&path, Existing::Refuse).unwrap();
        let reader = SerializedFileReader::new(fs::File::open(&written).unwrap()).unwrap();
        let rows: Vec<String> =
            reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect();
        assert_eq!(
            rows,
            [
                r#"{case: "=007", score: 0.1, voxels: 4611686018427387904, abstained: true, threshold: "validation", label: "007", site: "Bern, "left""}"#,
                r#"{case: "008", score: -1E-300, voxels: null, abstained: false, threshold: "0.5", label: "3", site: null}"#,
            ]
        );
        assert!(matches!(table_to_parquet(&path, Existing::Refuse), Err(ParquetTableError::Write(_))));
    }

    #[test]
    fn tables_of_any_length_are_written_in_groups() {
        let folder = tempfile::tempdir().unwrap();
        for count in [0, 1, ROWS, ROWS + 3] {
            let path = folder.path().join(format!("{count}.csv"));
            let mut table = CommaTable::new(["lesion"]);
            (0..count).for_each(|row| table.row([row.into()]));
            table.write(&path, Existing::Refuse).unwrap();
            let written = table_to_parquet(&path, Existing::Refuse).unwrap();
            let metadata =
                SerializedFileReader::new(fs::File::open(written).unwrap()).unwrap().metadata().clone();
            assert_eq!(metadata.file_metadata().num_rows(), count as i64);
            assert_eq!(metadata.num_row_groups(), count.div_ceil(ROWS));
        }
    }

    #[test]
    fn what_is_no_table_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cases.csv");
        assert!(matches!(table_to_parquet(&path, Existing::Refuse), Err(ParquetTableError::Read { .. })));
        fs::write(&path, "a,b\n1\n").unwrap();
        let error = table_to_parquet(&path, Existing::Refuse).unwrap_err();
        assert!(matches!(error, ParquetTableError::Read { .. }), "{error:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
