// A little help where JavaScript runs; every page works without it.
"use strict";

// The list of what is wrong takes the focus, so that it is read first.
document.querySelector("[data-focus]")?.focus();
