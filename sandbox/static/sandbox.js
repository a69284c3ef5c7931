// Makes "Select all" on the consent page tick the boxes in place. Without script the link loads the page with every box ticked.
const link = document.getElementById("select-all");
if (link) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const boxes = [...document.querySelectorAll('#consent input[name="scope"]')];
    const all = boxes.every((box) => box.checked);
    for (const box of boxes) box.checked = !all;
  });
}
