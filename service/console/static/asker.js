// @ts-check
/**
 * Keeps answers and asks for those that are missing: few at once, the most wanted first. What is
 * under way and no longer wanted is aborted, which takes it off the server's queue.
 *
 * @template Question, Answer
 */
export class Asker {
  /**
   * @param {(question: Question, signal: AbortSignal) => Promise<Answer>} ask
   * @param {(question: Question) => string} keyOf
   * @param {() => void} changed called after each answer or failure
   * @param {number} [atOnce]
   */
  constructor(ask, keyOf, changed, atOnce = 2) {
    this.ask = ask;
    this.keyOf = keyOf;
    this.changed = changed;
    this.atOnce = atOnce;
    /** @type {Map<string, Answer>} */
    this.answers = new Map();
    /** @type {Map<string, Error>} */
    this.failures = new Map();
    /** @type {Map<string, AbortController>} */
    this.asking = new Map();
    /** @type {Question[]} */
    this.wanted = [];
  }

  /**
   * Sets what is wanted, best first, and asks for it.
   * @param {Question[]} questions
   */
  want(questions) {
    this.wanted = questions;
    const keys = new Set(questions.map(this.keyOf));
    for (const [key, controller] of this.asking) {
      if (keys.has(key)) continue;
      controller.abort();
      this.asking.delete(key);
    }
    this.#start();
  }

  /** Asks again what failed. */
  retry() {
    this.failures.clear();
    this.#start();
  }

  /** Forgets every answer and asks anew: the model has changed. */
  forget() {
    for (const controller of this.asking.values()) controller.abort();
    for (const held of [this.asking, this.answers, this.failures]) held.clear();
    this.#start();
  }

  #start() {
    for (const question of this.wanted) {
      if (this.asking.size >= this.atOnce) return;
      const key = this.keyOf(question);
      if (this.answers.has(key) || this.failures.has(key) || this.asking.has(key)) continue;
      this.#askOne(question, key);
    }
  }

  /**
   * @param {Question} question
   * @param {string} key
   */
  async #askOne(question, key) {
    const controller = new AbortController();
    this.asking.set(key, controller);
    try {
      const answer = await this.ask(question, controller.signal);
      if (controller.signal.aborted) return;
      this.answers.set(key, answer);
    } catch (error) {
      if (controller.signal.aborted) return;
      this.failures.set(key, /** @type {Error} */ (error));
    }
    this.asking.delete(key);
    this.#start();
    this.changed();
  }
}
