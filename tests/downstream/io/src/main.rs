//! Reads a file from memory with the readers alone.

use lesio_io::{ReadErrorKind, ReadOptions};

fn main() {
    // A gray BMP image of 2 x 1 pixels, 24 bits each: rows are padded to 4 bytes.
    let mut bytes = vec![0_u8; 54 + 8];
    bytes[..2].copy_from_slice(b"BM");
    for (at, value) in [(2, 62_u8), (10, 54), (14, 40), (18, 2), (22, 1), (26, 1), (28, 24)] {
        bytes[at] = value;
    }
    bytes[54..60].copy_from_slice(&[10, 10, 10, 200, 200, 200]);
    match ReadOptions::default().read_image_bytes(&bytes) {
        Ok(image) => println!("{} channels, {} x {} pixels", image.channels(), image.height(), image.width()),
        Err(error) => println!("error {error}"),
    }
    let cut = ReadOptions::default().read_image_bytes(&bytes[..56]);
    println!(
        "truncated: {}",
        cut.is_err_and(|error| matches!(error.kind(), ReadErrorKind::Truncated { .. }))
    );
}
