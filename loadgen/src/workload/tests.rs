use super::*;

fn workload(seed: u64) -> Workload {
    Workload {
        names: Names::new(100, 16).unwrap(),
        distribution: "zipf:1.1".parse().unwrap(),
        mix: "count=3,get=1".parse().unwrap(),
        seed,
    }
}

fn first(seed: u64, stream: usize) -> Vec<Request> {
    let mut requests = workload(seed).requests(stream, None);
    (0..50).map(|_| requests.next().unwrap()).collect()
}

#[test]
fn the_same_seed_asks_the_same() {
    assert_eq!(first(1, 0), first(1, 0));
    assert_ne!(first(1, 0), first(2, 0));
    assert_ne!(first(1, 0), first(1, 1));
}

#[test]
fn each_topic_is_asked_once() {
    let mut seen: Vec<u32> = (0..3)
        .flat_map(|number| {
            let mut requests = Requests::each(Op::Get, 10, number, 3);
            std::iter::from_fn(move || requests.next())
        })
        .map(|(_, topic)| topic)
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
    assert_eq!(Requests::each(Op::Get, 2, 5, 6).next(), None);
}
