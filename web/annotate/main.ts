document.title = "Mark faces";
