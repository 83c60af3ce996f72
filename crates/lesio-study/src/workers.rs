//! Work on several items at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// Applies `work` to every item, on as many threads as there are workers. Passes each result with the index of its item to
/// `each`, in the order in which items finish. An error of `each` stops the work; items that have started are finished.
pub(crate) fn in_parallel<T: Sync, R: Send, E>(
    workers: usize,
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
    mut each: impl FnMut(usize, R) -> Result<(), E>,
) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        // A worker waits until its result is taken, so that no worker runs ahead of the observer.
        let (give, results) = mpsc::sync_channel(0);
        for _ in 0..workers.min(items.len()) {
            let (give, next, work) = (give.clone(), &next, &work);
            scope.spawn(move || {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(place) else { break };
                    if give.send((place, work(item))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(give);
        results.into_iter().try_for_each(|(place, result)| each(place, result))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_once_and_an_error_ends_the_work() {
        let items: Vec<usize> = (0..100).collect();
        for workers in [1, 3, 200] {
            let mut found = vec![0; items.len()];
            let all: Result<(), ()> = in_parallel(
                workers,
                &items,
                |&item| item * 2,
                |place, result| {
                    assert_eq!(result, place * 2);
                    found[place] += 1;
                    Ok(())
                },
            );
            assert_eq!((all, found), (Ok(()), vec![1; items.len()]));
            let begun = AtomicUsize::new(0);
            let stopped = in_parallel(
                workers,
                &items,
                |_| begun.fetch_add(1, Ordering::Relaxed),
                |place, _| if place >= 5 { Err(place) } else { Ok(()) },
            );
            assert!(stopped.is_err());
            assert!(begun.into_inner() <= items.len());
        }
        assert_eq!(in_parallel(4, &[], |_: &u8| (), |_, ()| Err(())), Ok(()));
    }
}
