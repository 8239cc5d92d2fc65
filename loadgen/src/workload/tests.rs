use globalcounter::protocol::Op;

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
fn the_same_seed_makes_the_same_requests() {
    assert_eq!(first(1, 0), first(1, 0));
    assert_ne!(first(1, 0), first(2, 0));
    assert_ne!(first(1, 0), first(1, 1));
    assert_ne!(first(1, 1), first(2, 0));
}

#[test]
fn each_topic_is_requested_once() {
    let mut seen: Vec<u32> = (0..3)
        .flat_map(|number| {
            let mut requests = Requests::each(Op::Get, Topics::First(10), number, 3);
            std::iter::from_fn(move || requests.next())
        })
        .map(|(_, topic)| topic)
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
    assert_eq!(Requests::each(Op::Get, Topics::First(2), 5, 6).next(), None);
    let mut some = Requests::each(Op::Get, Topics::These([7, 8, 9].into()), 1, 2);
    assert_eq!((some.next(), some.next()), (Some((Op::Get, 8)), None));
}
