//! Words for invented mail: subjects in many languages, senders who do not exist, sentences that say nothing. All
//! domains are reserved for examples; don't add a real company or a real person.

/// Subjects of letters between colleagues.
pub(crate) static WORK_SUBJECTS: [&str; 24] = [
    "Draft of the quarterly plan",
    "Notes from Tuesday",
    "Who has the key to the archive?",
    "Budget, third version",
    "Réunion de lundi — ordre du jour",
    "Übergabe vor dem Urlaub",
    "来週の打ち合わせ",
    "出張報告書について",
    "季度预算初稿",
    "Протокол встречи",
    "جدول الاجتماع القادم",
    "סיכום הפגישה",
    "Propuesta para el taller 🎨",
    "Plano de férias",
    "회의록 공유드립니다",
    "Zaproszenie na przegląd",
    "Lunch on Thursday? 🍜",
    "Printer on the second floor",
    "Reservation of the big room",
    "Feedback wanted: new onboarding",
    "Umzug ins neue Büro",
    "Re-check of the figures",
    "Prośba o akceptację",
    "Welcome to the team! 🎉",
];

/// Subjects of letters from customers and suppliers.
pub(crate) static OUTSIDE_SUBJECTS: [&str; 16] = [
    "Question about our order",
    "Offer for the next season",
    "Your visit on the 14th",
    "Contract for signature",
    "Delivery delayed",
    "Rechnung zum Auftrag",
    "Devis n° 4417",
    "見積書の送付",
    "关于合作的提议",
    "Запрос коммерческого предложения",
    "طلب عرض سعر",
    "Confirmación de pedido",
    "Sample kit is on its way 📦",
    "Can we move the call?",
    "Certificate renewal",
    "Spare parts list",
];

/// Newsletters: name, list id, subject.
pub(crate) static NEWSLETTERS: [(&str, &str, &str); 8] = [
    ("The Slow Harbour", "weekly.slow-harbour.example", "Seven quiet ports for the autumn"),
    ("Gear & Lathe", "digest.gear-and-lathe.example", "How a thread is cut"),
    ("Tea Notes", "notes.tea-notes.example", "今週のお茶 🍵"),
    ("Paper Moon Books", "list.paper-moon-books.example", "New on our shelves"),
    ("Rooftop Garden", "mail.rooftop-garden.example", "What to sow in November 🌱"),
    ("Letra Chica", "boletin.letra-chica.example", "Lo que no leíste esta semana"),
    ("Nordlicht Kino", "programm.nordlicht-kino.example", "Das Programm für die Woche"),
    ("Cloud Weather", "status.cloud-weather.example", "Scheduled maintenance on Sunday"),
];

/// Automatic senders: name, local part and domain, subject.
pub(crate) static MACHINES: [(&str, &str, &str); 8] = [
    ("Build Robot", "builds@ci.example.net", "Build 8812 failed on main"),
    ("Expenses", "noreply@expenses.example.org", "Your report was approved"),
    ("Ticket Desk", "desk@tickets.example.net", "[#20417] Monitor flickers"),
    ("Doorbell", "alerts@doorbell.example.net", "Visitor at the reception"),
    ("Payroll", "noreply@payroll.example.org", "Your statement is ready"),
    ("Code Review", "review@forge.example.net", "Changes requested: tidy the parser"),
    ("Travel Desk", "trips@travel-desk.example.org", "Itinerary for your trip"),
    ("Backup", "backup@storage.example.net", "Nightly backup finished"),
];

/// Subjects of invitations.
pub(crate) static MEETINGS: [&str; 8] = [
    "Weekly stand-up",
    "Design review",
    "1:1",
    "採用面接",
    "Планёрка",
    "Retrospective 🔁",
    "Budget round",
    "Fire drill",
];

/// People outside who don't exist, and their addresses.
pub(crate) static OUTSIDERS: [(&str, &str); 16] = [
    ("Quillon Marrowby", "quillon@marrowby-tools.example"),
    ("Zsófia Árkosvári", "zsofia@arkos-porcelain.example"),
    ("Þórdís Hvalskaft", "thordis@hvalskaft-nets.example"),
    ("緑川 さざれ", "sazare@midori-paper.example"),
    ("云 青棠", "qingtang@cloud-lantern.example"),
    ("Ярополк Верстовой", "yaropolk@verst-cargo.example"),
    ("نوران الزمردي", "nouran@zumurrud-trade.example"),
    ("Łucja Bursztynek", "lucja@bursztynek-optics.example"),
    ("Ngozi Okpalaku-Test", "ngozi@okpalaku-seeds.example"),
    ("Anaïs de Trèfleval", "anais@trefleval-vins.example"),
    ("Ikaika Kealohapau", "ikaika@kealoha-boards.example"),
    ("달빛 나루", "dalbit@naru-ferry.example"),
    ("Itzayana Quetzalpan", "itzayana@quetzalpan-cacao.example"),
    ("Bram van Nergenshuizen", "bram@nergenshuizen.example"),
    ("O'Malley-Ffitch, Perpetua", "perpetua@ffitch-bindery.example"),
    ("Mirai 🤖 Assistant", "assistant@mirai-parts.example"),
];

/// Sentences for bodies.
pub(crate) static SENTENCES: [&str; 8] = [
    "Please find the numbers below.",
    "Could you have a look before noon?",
    "I will bring the samples on Friday.",
    "The room is booked from nine.",
    "明日までにご確認ください。",
    "Merci de votre réponse rapide.",
    "Wir melden uns nächste Woche.",
    "Спасибо за терпение.",
];
