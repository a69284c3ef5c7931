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

// A form that is on its way isn't sent again by a second click: the second request would replace the first's answer with
// "This sign-in is over". A page that the back button brings back may be answered again, and is told what became of it.
for (const form of document.querySelectorAll('form[method="post"]')) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
  addEventListener("pageshow", (event) => event.persisted && delete form.dataset.sent);
}

// On a phone the console's menu would fill the screen: it starts closed, except on the console's first page.
const menu = document.querySelector(".menu-all");
if (menu && location.pathname !== "/console" && matchMedia("(max-width: 52rem)").matches) menu.open = false;
