//! Every case of `peers/run` by criterion, lesio's side alone.
//!
//! `cargo bench -p lesio-benches -- vae` runs those whose names hold `vae`. Data files that are not
//! there are made where lesio can make them; cases whose data only `peers/run` writes are skipped,
//! and said so, until it has run once.

#![allow(missing_docs, clippy::print_stderr, reason = "a bench")]

use std::path::PathBuf;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

fn cases(criterion: &mut Criterion) {
    let data = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers/data"));
    if let Err(error) = lesio_benches::export(&data) {
        eprintln!("cannot write {}: {error}", data.display());
        return;
    }
    let mut group = criterion.benchmark_group("cases");
    group.sample_size(10).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    for name in lesio_benches::NAMES {
        let mut case = match lesio_benches::prepare(name, &data, &lesio_nn::Device::Cpu) {
            Ok(case) => case,
            Err(error) => {
                eprintln!("skipped: {name}: {error}");
                continue;
            }
        };
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                if let Err(error) = case.run() {
                    eprintln!("{name}: {error}");
                    std::process::exit(1);
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, cases);
criterion_main!(benches);
