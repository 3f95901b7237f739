// Brings the questions of a {quiz} to life: an answer shows its explanation, and only after it was chosen.
// The page is complete without this script; it then shows every explanation.

function reveal(question, explanation, keepOthers) {
  if (!keepOthers) question.querySelectorAll(".quiz-why").forEach((why) => why.classList.remove("shown"));
  explanation.classList.add("shown");
}

function choose(question, button) {
  const buttons = [...question.querySelectorAll("button[data-verdict]")];
  const several = buttons.filter((other) => other.dataset.verdict === "right").length > 1;
  if (!several) buttons.forEach((other) => other.setAttribute("aria-pressed", "false"));
  button.setAttribute("aria-pressed", "true");
  reveal(question, button.parentElement.querySelector(".quiz-why"), several);
}

function checkNumber(question, form) {
  const input = form.querySelector("input");
  const number = Number(input.value.trim().replace(",", "."));
  if (input.value.trim() === "" || Number.isNaN(number)) {
    input.setCustomValidity("Type a number, such as 0.5");
    input.reportValidity();
    return;
  }
  const answers = [...form.querySelectorAll("[data-low]")];
  const match = answers.find((answer) => {
    const slack = 1e-9; // 0.1 + 0.2 must count as 0.3
    return number >= Number(answer.dataset.low) - slack && number <= Number(answer.dataset.high) + slack;
  });
  reveal(question, match.querySelector(".quiz-why"), false);
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".quiz").forEach((quiz) => {
    quiz.classList.add("live");
    quiz.querySelectorAll(".quiz-question").forEach((question) => {
      question.querySelectorAll("button[data-verdict]").forEach((button) => {
        button.addEventListener("click", () => choose(question, button));
      });
      const form = question.querySelector("form");
      if (!form) return;
      form.querySelector("input").addEventListener("input", (event) => event.target.setCustomValidity(""));
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        checkNumber(question, form);
      });
    });
  });
});
