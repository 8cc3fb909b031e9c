//! What a warm request takes from the allocator: little, and no more on a large gateway than on a small one.

#![allow(unsafe_code, reason = "an allocator is unsafe to write")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use scopegate::exchange::{HeaderEdits, Step};
use scopegate::http::headers::{Headers, borrowed};
use scopegate::jose::json::{heap_bytes, parse_object};
use serde_json::{Value, json};

use crate::gateway::{Call, Gateway, NOW};
use scopegate_testing::workload::{Issuer, PATH, Size, configuration};

/// The system's, counting what each thread asks of it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends has no counters any more, and allocates still.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        let _ = BYTES.try_with(|bytes| bytes.set(bytes.get() + layout.size()));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A host that edits headers without taking memory.
struct Nowhere;

impl HeaderEdits for Nowhere {
    fn remove(&mut self, _: &[u8]) {}
    fn set(&mut self, _: &str, _: &[u8]) {}
    fn add(&mut self, _: &str, _: &[u8]) {}
}

/// Allocations and bytes of a request whose token was verified before.
fn of_a_warm_request(size: Size) -> (usize, usize) {
    let issuer = Issuer::new(NOW);
    let gateway = Gateway::new(&configuration(&issuer, size));
    let call = Call::get(PATH).header("user-agent", "test").bearer(&issuer.token(&issuer.es256, 0));
    assert_eq!(gateway.call(&call).brief(), "acme");
    let headers = borrowed(&call.headers);
    pass(&gateway, &headers);
    let before = (ALLOCATIONS.get(), BYTES.get());
    pass(&gateway, &headers);
    (ALLOCATIONS.get() - before.0, BYTES.get() - before.1)
}

/// The core's part in a request that passes, edits of its headers included.
fn pass(gateway: &Gateway, headers: Headers<'_>) {
    assert!(matches!(gateway.step(headers, &mut Nowhere), Step::Forward(_)), "the request does not pass");
}

#[test]
fn a_warm_request_allocates_nothing() {
    assert_eq!(of_a_warm_request(Size::SMALL), (0, 0));
}

#[test]
fn a_warm_request_allocates_the_same_whatever_the_number_of_tenants_and_operations() {
    let small = of_a_warm_request(Size::SMALL);
    let many_tenants = of_a_warm_request(Size { tenants: Size::LARGE.tenants, ..Size::SMALL });
    let many_operations = of_a_warm_request(Size { tenants: 1, ..Size::LARGE });
    assert_eq!((many_tenants, many_operations), (small, small));
}

#[test]
fn an_allocation_is_counted() {
    let before = (ALLOCATIONS.get(), BYTES.get());
    drop(std::hint::black_box(vec![0_u8; 100]));
    assert_eq!((ALLOCATIONS.get() - before.0, BYTES.get() - before.1), (1, 100));
}

#[test]
fn what_claims_are_reckoned_to_take_is_about_what_they_take_and_never_much_less() {
    let members = |value: &dyn Fn(usize) -> Value, name: &str| -> Value {
        (0..40)
            .map(|number| (format!("{name}{number}"), value(number)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    for claims in [
        members(&|_| json!("x".repeat(1000)), ""),
        members(&|number| json!(number), &"name".repeat(100)),
        members(&|_| json!(vec![Value::Null; 100]), ""),
        members(&|_| json!(["x".repeat(500), "x".repeat(500)]), "scope"),
        members(&|_| members(&|_| json!("x".repeat(100)), "inner"), "outer"),
    ] {
        let claims = parse_object(claims.to_string().as_bytes()).unwrap();
        let before = BYTES.get();
        let copy = std::hint::black_box(claims.clone());
        let taken = BYTES.get() - before;
        let reckoned = heap_bytes(&copy);
        assert!((taken / 10 * 9..3 * taken).contains(&reckoned), "{reckoned} for {taken}");
    }
}
