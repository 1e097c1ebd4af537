//! BTF written by hand, damaged, and found.

use super::super::flat::{BASE, Flat};
use super::sample::{Builder, kernel};
use super::*;
use proptest::prelude::*;

const NAMES: [&str; 20] = [
    "page",
    "flags",
    "mapping",
    "compound_head",
    "private",
    "_mapcount",
    "lru",
    "zone",
    "free_area",
    "atomic_long_t",
    "counter",
    "pageflags",
    "PG_private",
    "pagetype",
    "PGTY_slab",
    "nothing",
    "bits",
    "wide",
    "HUGE",
    "cycle",
];

fn with<T>(blob: Vec<u8>, ask: impl FnOnce(&mut Btf<'_, '_>) -> T) -> T {
    let flat = Flat(blob);
    let mem = flat.mem();
    let mut btf = Btf::read(&mem, BASE, &NAMES).unwrap();
    ask(&mut btf)
}

#[test]
fn members_sizes_lengths_and_constants() {
    with(kernel().build(None), |btf| {
        assert_eq!(btf.size("page"), Some(64));
        assert_eq!(btf.size("atomic_long_t"), Some(8));
        assert_eq!(btf.offset("page", "flags"), Some(0));
        assert_eq!(btf.offset("page", "mapping"), Some(8 + 16));
        assert_eq!(btf.offset("page", "compound_head"), Some(8));
        assert_eq!(btf.offset("page", "private"), Some(40));
        assert_eq!(btf.offset("page", "_mapcount"), Some(48));
        assert_eq!(btf.offset("page", "counter"), None);
        assert_eq!(btf.offset("nothing", "flags"), None);
        assert_eq!(btf.offset("page", "not wanted"), None);
        assert_eq!(btf.offset("atomic_long_t", "counter"), Some(0));
        assert_eq!(btf.length("zone", "free_area"), Some(11));
        assert_eq!(btf.length("page", "flags"), None);
        assert_eq!(btf.enumerator("pageflags", "PG_private"), Some(14));
        assert_eq!(btf.enumerator("pagetype", "PGTY_slab"), Some(0xf5));
        assert_eq!(btf.enumerator("pageflags", "PGTY_slab"), None);
        assert_eq!(btf.enumerator("page", "PG_private"), None);
    });
}

#[test]
fn bit_fields_wide_constants_and_many_types() {
    let mut b = Builder::new();
    let int = b.int();
    for _ in 0..3 * STEP {
        b.alias("", 2, int);
    }
    let inner = b.compound(4, "", 8, &[("counter", int, 0, 0)]);
    let members = [
        ("bits", int, 3, 5),
        ("flags", int, 64, 0),
        ("", inner, 128, 0),
    ];
    b.compound(4, "page", 24, &members);
    let huge = b.name("HUGE");
    b.record("wide", 19 << 24 | 1, 8, &[huge, 7, 1]);
    with(b.build(None), |btf| {
        assert_eq!(btf.len(), 3 * STEP + 4);
        assert_eq!(btf.offset("page", "bits"), None);
        assert_eq!(btf.offset("page", "flags"), Some(8));
        assert_eq!(btf.offset("page", "counter"), Some(16));
        assert_eq!(btf.enumerator("wide", "HUGE"), Some(1 << 32 | 7));
    });
}

#[test]
fn kinds_of_the_future_are_stepped_over_when_the_header_says_how() {
    let future = |b: &mut Builder| b.record("", 100 << 24 | 2, 0, &[1, 2, 3]);
    let mut b = Builder::new();
    future(&mut b);
    b.compound(4, "page", 64, &[]);
    for (layout, size) in [
        (Some((4, 4)), Some(64)),
        (Some((200, 200)), None),
        (None, None),
    ] {
        assert_eq!(with(b.build(layout), |btf| btf.size("page")), size);
    }
}

#[test]
fn cycles_and_absurd_lengths_end() {
    let mut b = Builder::new();
    let own = 1;
    b.compound(4, "cycle", 8, &[("", own, 0, 0), ("", own, 0, 0)]);
    b.alias("atomic_long_t", 8, 2);
    b.record("page", 4 << 24 | 0xff_ffff, 64, &[]);
    with(b.build(None), |btf| {
        assert_eq!(btf.len(), 2);
        assert_eq!(btf.offset("cycle", "flags"), None);
        assert_eq!(btf.size("atomic_long_t"), None);
        assert_eq!(btf.size("page"), None);
    });
}

#[test]
fn questions_are_not_answered_at_any_price() {
    let mut b = Builder::new();
    for _ in 0..200 {
        b.int();
    }
    let last = b.compound(4, "", 64, &[]);
    b.alias("page", 8, last);
    with(b.build(None), |btf| {
        let answers = (0..1 << 14).take_while(|_| btf.size("page").is_some());
        let count = answers.count();
        assert!((1000..1 << 13).contains(&count), "{count}");
        assert_eq!(btf.size("page"), None);
    });
}

#[test]
fn what_is_no_btf_is_refused() {
    let why = |at: usize, byte: u8| {
        let mut blob = kernel().build(None);
        blob[at] = byte;
        let flat = Flat(blob);
        Btf::read(&flat.mem(), BASE, &NAMES).err().unwrap()
    };
    assert!(why(0, 0).contains("there is no BTF"));
    assert!(why(2, 2).contains("there is no BTF"));
    assert!(why(7, 1).contains("nonsense"));
    assert!(why(23, 8).contains("nonsense"), "length of the strings");
    assert!(why(22, 1).contains("cannot be read"), "strings end early");
}

#[test]
fn btf_is_found_in_an_image() {
    let mut b = kernel();
    for number in 0..6000 {
        b.compound(4, &format!("filler_{number}"), number, &[]);
    }
    let blob = b.build(None);
    for at in [0x1_0000 - 20, 0x2345, 0x1_fff0] {
        let mut image = vec![0x90; at];
        image[..4].copy_from_slice(&[0x9f, 0xeb, 1, 0]);
        image.extend_from_slice(&blob);
        image.resize(image.len() + 0x3_0000, 0);
        let flat = Flat(image);
        assert_eq!(search(&flat.mem(), BASE + 0x10), Some(BASE + at as u64));
    }
    assert_eq!(search(&Flat(vec![0x9f; 0x4000]).mem(), BASE), None);
    // What looks like BTF again and again is made by somebody to be looked at.
    let header = Flat([&blob[..24], &[0; 8]].concat()).0;
    let found = |fakes: usize| {
        let flat = Flat([header.repeat(fakes), blob.clone(), vec![0; 0x3_0000]].concat());
        search(&flat.mem(), BASE)
    };
    assert_eq!(found(100), Some(BASE + 3200));
    assert_eq!(found(2000), None);
}

proptest! {
    /// Any damage gives an answer or none, in bounded time.
    #[test]
    fn damaged_btf(places in proptest::collection::vec((4..1200usize, any::<u8>()), 1..40)) {
        let mut blob = kernel().build(Some((4, 4)));
        for (at, byte) in places {
            let at = at % blob.len();
            blob[at] = byte;
        }
        let flat = Flat(blob);
        let mem = flat.mem();
        if let Ok(mut btf) = Btf::read(&mem, BASE, &NAMES) {
            for member in NAMES {
                let _ = btf.offset("page", member);
                let _ = btf.length("zone", member);
                let _ = btf.enumerator("pagetype", member);
                let _ = btf.size(member);
            }
        }
    }
}
