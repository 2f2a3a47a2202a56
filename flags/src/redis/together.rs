//! Requests that come while one is on its way go together, in one request behind it.
//!
//! So a lone request waits for nobody, and of many at once each costs a share of a round trip: of many callbacks side by side the
//! round trips were most of what Redis and this process did. A question is never answered by a request that was sent before it was asked.
//! Who stops waiting takes nothing from the others: what was sent for several goes on without him.
//!
//! Left out: what is asked and how its answers are told apart (`Batch`).

use crate::store::StoreError;
use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// What can be asked together.
pub(super) trait Batch: Send + Sync + 'static {
    type Question: Send + 'static;
    type Answer: Send + 'static;

    /// How much of a request's room a question takes.
    fn weight(question: &Self::Question) -> usize;

    /// Makes one request, whose answers come in the order of the questions.
    fn ask(
        &self,
        questions: Vec<Self::Question>,
    ) -> impl Future<Output = Result<Vec<Self::Answer>, StoreError>> + Send;
}

/// How much one request holds; a question that is larger goes alone.
pub(super) const WEIGHT_MAX: usize = crate::store::WRITES_PER_SCRIPT_MAX;

/// Asks a batch's questions, those that come at the same time together.
pub(super) struct Together<B: Batch>(Arc<Inner<B>>);

struct Inner<B: Batch> {
    batch: B,
    line: Mutex<Line<B>>,
}

/// Who waits. As many as there are callers, whose number is their own matter.
struct Line<B: Batch> {
    is_under_way: bool,
    waiting: VecDeque<Waiting<B>>,
}

struct Waiting<B: Batch> {
    question: B::Question,
    answer: oneshot::Sender<Result<B::Answer, StoreError>>,
}

/// Where an answer will come.
type Answered<B> = oneshot::Receiver<Result<<B as Batch>::Answer, StoreError>>;

/// A request on its way. When it is dropped, ended or not, the next one goes.
struct UnderWay<B: Batch>(Arc<Inner<B>>);

impl<B: Batch> Together<B> {
    pub(super) fn new(batch: B) -> Together<B> {
        let line = Mutex::new(Line { is_under_way: false, waiting: VecDeque::new() });
        Together(Arc::new(Inner { batch, line }))
    }

    /// Asks one question.
    pub(super) async fn ask(&self, question: B::Question) -> Result<B::Answer, StoreError> {
        match self.0.enter(question) {
            Ok((question, _under_way)) => {
                let answers = self.0.batch.ask(vec![question]).await?;
                answers.into_iter().next().ok_or_else(unanswered)
            }
            Err(answer) => answer.await.unwrap_or_else(|_| Err(unanswered())),
        }
    }
}

impl<B: Batch> Inner<B> {
    /// Leave to ask at once, or where the answer will come.
    fn enter(self: &Arc<Self>, question: B::Question) -> Result<(B::Question, UnderWay<B>), Answered<B>> {
        let mut line = self.line();
        if !line.is_under_way {
            line.is_under_way = true;
            return Ok((question, UnderWay(Arc::clone(self))));
        }
        let (answer, answered) = oneshot::channel();
        line.waiting.push_back(Waiting { question, answer });
        Err(answered)
    }

    /// Those who go together next. None: nobody waits, and nothing is under way any more.
    fn next(&self) -> Option<Vec<Waiting<B>>> {
        let mut line = self.line();
        let (mut together, mut weight) = (Vec::new(), 0);
        while let Some(first) = line.waiting.front() {
            // Who has stopped waiting is not asked for.
            if first.answer.is_closed() {
                line.waiting.pop_front();
                continue;
            }
            weight += B::weight(&first.question);
            if weight > WEIGHT_MAX && !together.is_empty() {
                break;
            }
            together.extend(line.waiting.pop_front());
        }
        line.is_under_way = !together.is_empty();
        (!together.is_empty()).then_some(together)
    }

    fn line(&self) -> MutexGuard<'_, Line<B>> {
        // Every change is one step, so a panic leaves it whole.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Batch> UnderWay<B> {
    /// Asks for several, and tells each its answer.
    async fn ask(self, together: Vec<Waiting<B>>) {
        let (questions, waiting): (Vec<_>, Vec<_>) =
            together.into_iter().map(|one| (one.question, one.answer)).unzip();
        match self.0.batch.ask(questions).await {
            Ok(answers) => {
                for (waiting, answer) in waiting.into_iter().zip(answers) {
                    let _gone = waiting.send(Ok(answer));
                }
            }
            Err(error) => {
                for waiting in waiting {
                    let _gone = waiting.send(Err(error.clone()));
                }
            }
        }
    }
}

impl<B: Batch> Drop for UnderWay<B> {
    fn drop(&mut self) {
        let Some(together) = self.0.next() else { return };
        let next = UnderWay(Arc::clone(&self.0));
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(next.ask(together))),
            // The runtime has ended, and with it those who wait: they go one after the other.
            Err(_) => drop((together, next)),
        }
    }
}

/// A request for several ended without their answers: its task did, with the runtime or by a panic.
fn unanswered() -> StoreError {
    StoreError::unreachable("asking for several at once", "it ended without an answer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Semaphore;
    use tokio::task::yield_now;

    /// Doubles numbers, when let; fails at 13, panics at 14.
    struct Doubling {
        let_go: Semaphore,
        requests: Mutex<Vec<Vec<usize>>>,
        weight: AtomicUsize,
    }

    impl Batch for Arc<Doubling> {
        type Question = usize;
        type Answer = usize;

        fn weight(question: &usize) -> usize {
            if *question > 1_000 { *question } else { 1 }
        }

        async fn ask(&self, questions: Vec<usize>) -> Result<Vec<usize>, StoreError> {
            self.requests.lock().unwrap().push(questions.clone());
            self.weight.fetch_add(questions.iter().map(Self::weight).sum(), Ordering::Relaxed);
            self.let_go.acquire().await.unwrap().forget();
            assert!(!questions.contains(&14), "told to");
            if questions.contains(&13) {
                return Err(StoreError::unreachable("a test", "told to"));
            }
            Ok(questions.into_iter().map(|number| number * 2).collect())
        }
    }

    type Asked = tokio::task::JoinHandle<Result<usize, StoreError>>;

    struct Rig(Arc<Together<Arc<Doubling>>>, Arc<Doubling>);

    impl Rig {
        fn new() -> Rig {
            let (let_go, requests, weight) = (Semaphore::new(0), Mutex::default(), AtomicUsize::new(0));
            let doubling = Arc::new(Doubling { let_go, requests, weight });
            Rig(Arc::new(Together::new(Arc::clone(&doubling))), doubling)
        }

        /// Asks, and sees that it is in line or on its way.
        async fn ask(&self, number: usize) -> Asked {
            let together = Arc::clone(&self.0);
            let asked = tokio::spawn(async move { together.ask(number).await });
            yield_now().await;
            asked
        }

        fn let_go(&self, requests: usize) {
            self.1.let_go.add_permits(requests);
        }

        fn requests(&self) -> Vec<Vec<usize>> {
            self.1.requests.lock().unwrap().clone()
        }
    }

    #[tokio::test]
    async fn what_comes_while_one_is_under_way_goes_together_behind_it() {
        let rig = Rig::new();
        let first = rig.ask(1).await;
        let (second, gone, third) = (rig.ask(2).await, rig.ask(99).await, rig.ask(3).await);
        assert_eq!(rig.requests(), [vec![1]]);
        gone.abort();
        yield_now().await;
        rig.let_go(2);
        assert_eq!([first, second, third].map(|asked| async { asked.await.unwrap().unwrap() }).len(), 3);
        let last = rig.ask(4).await;
        rig.let_go(1);
        assert_eq!(last.await.unwrap().unwrap(), 8);
        assert_eq!(rig.requests(), [vec![1], vec![2, 3], vec![4]], "who has gone is not asked for");
    }

    #[tokio::test]
    async fn each_is_told_its_own_answer_and_an_error_is_told_to_all_of_its_request() {
        let rig = Rig::new();
        let all = [rig.ask(1).await, rig.ask(13).await, rig.ask(3).await];
        rig.let_go(2);
        let mut answers = Vec::new();
        for asked in all {
            answers.push(asked.await.unwrap().ok());
        }
        assert_eq!(answers, [Some(2), None, None]);
        let after = [rig.ask(5).await, rig.ask(6).await, rig.ask(7).await];
        rig.let_go(2);
        let mut answers = Vec::new();
        for asked in after {
            answers.push(asked.await.unwrap().unwrap());
        }
        assert_eq!(answers, [10, 12, 14]);
    }

    #[tokio::test]
    async fn who_leaves_or_panics_on_the_way_leaves_the_line_moving() {
        let rig = Rig::new();
        let leaves = rig.ask(1).await;
        let (panics, second) = (rig.ask(14).await, rig.ask(15).await);
        leaves.abort();
        assert!(leaves.await.unwrap_err().is_cancelled());
        yield_now().await;
        assert_eq!(rig.requests(), [vec![1], vec![14, 15]], "the next went when the first was given up");
        let third = rig.ask(3).await;
        rig.let_go(2);
        for asked in [panics, second] {
            assert!(asked.await.unwrap().unwrap_err().is_retryable(), "its request panicked");
        }
        assert_eq!(third.await.unwrap().unwrap(), 6);
    }

    #[tokio::test]
    async fn one_request_holds_so_much_and_what_is_larger_goes_alone() {
        let rig = Rig::new();
        let mut all = vec![rig.ask(1).await];
        for number in 100..100 + WEIGHT_MAX + 10 {
            all.push(rig.ask(number).await);
        }
        all.push(rig.ask(WEIGHT_MAX * 3).await);
        rig.let_go(4);
        for asked in all {
            asked.await.unwrap().unwrap();
        }
        let sizes: Vec<usize> = rig.requests().iter().map(Vec::len).collect();
        assert_eq!(sizes, [1, WEIGHT_MAX, 10, 1]);
    }
}
