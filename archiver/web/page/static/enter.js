// The token stands in the fragment, which no server and no log sees; it is sent as a form, and taken out of the address.
const token = decodeURIComponent(location.hash.slice(1));
if (token && location.pathname === "/enter") {
  history.replaceState(null, "", location.pathname);
  const form = document.getElementById("enter");
  form.elements.token.value = token;
  form.submit();
}
