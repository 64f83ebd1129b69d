//! A log against a `Vec` on every backend: a short run here, a long one with `npm run soak`.
//!
//! `HYPERTAB_SOAK` is the number of operations, `HYPERTAB_DISK` one disk of `memory`, `log` and `redb`, `HYPERTAB_SEED`
//! the seed; a failure prints all three.

use hypertab_tests::log_model::run;

#[test]
fn log_behaves_like_a_vec_in_memory() {
    soak("memory", 6000);
}

#[test]
fn log_behaves_like_a_vec_in_a_log_store() {
    soak("log", 6000);
}

#[test]
fn log_behaves_like_a_vec_in_redb() {
    soak("redb", 1500);
}

fn soak(disk: &str, operations: u64) {
    let variable = |name: &str| std::env::var(name).ok().map(|text| text.replace('_', ""));
    if let Some(wanted) = variable("HYPERTAB_DISK").filter(|wanted| wanted != disk) {
        assert!(["memory", "log", "redb"].contains(&wanted.as_str()), "no such disk: {wanted}");
        return;
    }
    let number = |name: &str, otherwise: u64| {
        variable(name)
            .map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
    };
    run(disk, number("HYPERTAB_SEED", 1), number("HYPERTAB_SOAK", operations));
}
