//! Bytes that several owners of caches share fairly.
//!
//! 1. While there is room, each may take as much as it likes.
//! 2. Where all together have taken more than there is, whoever is furthest beyond an even part gives up entries until
//!    the rest fits. Nobody falls below an even part for the sake of others.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

/// An owner of caches.
pub trait Account {
    /// What it holds, in bytes.
    fn bytes(&self) -> usize;
    /// Gives up the entry that it can do without most easily. False where it has none to give up.
    fn give_up(&mut self) -> bool;
}

/// The budget of all accounts that were opened and are still alive.
#[derive(Debug)]
pub struct SharedBudget<A> {
    limit: Cell<usize>,
    /// What others than the accounts hold of it, in bytes.
    reserved: Cell<usize>,
    accounts: RefCell<Vec<Weak<RefCell<A>>>>,
}

impl<A> Default for SharedBudget<A> {
    fn default() -> Self {
        Self { limit: Cell::new(usize::MAX), reserved: Cell::new(0), accounts: RefCell::default() }
    }
}

impl<A: Account> SharedBudget<A> {
    /// Lets `account` share the budget.
    pub fn open(&self, account: &Rc<RefCell<A>>) {
        let mut accounts = self.accounts.borrow_mut();
        accounts.retain(|account| account.strong_count() > 0);
        accounts.push(Rc::downgrade(account));
    }

    /// Sets what all may hold together, in bytes.
    pub fn set_limit(&self, limit: usize) {
        self.limit.set(limit);
        self.enforce();
    }

    /// Sets what others than the accounts hold, in bytes: the accounts may hold that much less.
    pub fn reserve(&self, bytes: usize) {
        self.reserved.set(bytes);
        self.enforce();
    }

    /// What all may hold together, in bytes.
    pub fn limit(&self) -> usize {
        self.limit.get()
    }

    /// What all hold together, in bytes, with what is reserved.
    pub fn used(&self) -> usize {
        let accounts = self.accounts.borrow();
        let alive = accounts.iter().filter_map(Weak::upgrade);
        alive.map(|account| account.borrow().bytes()).fold(self.reserved.get(), usize::saturating_add)
    }

    /// Makes what was taken fit. No account may be borrowed.
    pub fn enforce(&self) {
        let mut used = self.used();
        if used <= self.limit.get() {
            return;
        }
        let mut accounts = self.alive();
        let part = self.limit.get().saturating_sub(self.reserved.get()) / accounts.len().max(1);
        // The one that holds most is the one furthest beyond its part.
        accounts.sort_by_key(|account| std::cmp::Reverse(account.borrow().bytes()));
        for account in accounts {
            let mut account = account.borrow_mut();
            loop {
                let before = account.bytes();
                if used <= self.limit.get() || before <= part || !account.give_up() {
                    break;
                }
                used = used.saturating_sub(before.saturating_sub(account.bytes()));
            }
        }
    }

    fn alive(&self) -> Vec<Rc<RefCell<A>>> {
        self.accounts.borrow().iter().filter_map(Weak::upgrade).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Pile {
        entries: Vec<usize>,
        /// What cannot be given up.
        kept: usize,
    }

    impl Account for Pile {
        fn bytes(&self) -> usize {
            self.entries.iter().sum::<usize>() + self.kept
        }

        fn give_up(&mut self) -> bool {
            self.entries.pop().is_some()
        }
    }

    fn piles(entries: &[Vec<usize>], limit: usize) -> (SharedBudget<Pile>, Vec<Rc<RefCell<Pile>>>) {
        let budget = SharedBudget::default();
        let pile = |entries: &Vec<usize>| Rc::new(RefCell::new(Pile { entries: entries.clone(), kept: 0 }));
        let piles: Vec<_> = entries.iter().map(pile).collect();
        piles.iter().for_each(|pile| budget.open(pile));
        budget.set_limit(limit);
        (budget, piles)
    }

    #[test]
    fn one_may_take_what_others_leave_and_gives_it_up_when_they_come() {
        let (budget, all) = piles(&[vec![10; 9], Vec::new()], 100);
        assert_eq!(budget.used(), 90);
        all[1].borrow_mut().entries.extend([10; 5]);
        budget.enforce();
        assert_eq!(all.iter().map(|pile| pile.borrow().bytes()).collect::<Vec<_>>(), [50, 50]);
    }

    #[test]
    fn what_is_reserved_is_given_up_by_the_accounts() {
        let (budget, all) = piles(&[vec![10; 9]], 100);
        budget.reserve(50);
        assert_eq!((budget.used(), all[0].borrow().bytes()), (100, 50));
        budget.reserve(0);
        assert_eq!(budget.used(), 50);
    }

    #[test]
    fn an_account_that_is_gone_takes_no_part() {
        let (budget, mut all) = piles(&[vec![10; 9], Vec::new()], 100);
        all.pop();
        assert_eq!((budget.used(), budget.alive().len()), (90, 1));
    }

    proptest! {
        #[test]
        fn it_fits_afterwards_and_nobody_fell_below_an_even_part_for_others(
            entries in proptest::collection::vec(proptest::collection::vec(1..50_usize, 0..30), 1..6),
            limit in 0..1000_usize,
        ) {
            let (budget, all) = piles(&entries, limit);
            prop_assert!(budget.used() <= limit);
            let part = limit / entries.len();
            for (pile, before) in all.iter().zip(&entries) {
                let (now, before) = (pile.borrow().bytes(), before.iter().sum::<usize>());
                // The last entry that was given up may have reached below the part.
                prop_assert!(now == before || now + 50 > part, "{} of {}, part {}", now, before, part);
            }
        }
    }
}
