// Shows the document that the page names. A file of its own, for a strict Content-Security-Policy.
"use strict";

const { document: url, csrfHeader, csrfToken } = document.getElementById("swagger-ui").dataset;

SwaggerUIBundle({
  url,
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null, // it would send the document to another site
  requestInterceptor(request) {
    // "Try it out": Django wants its token with what may change something, and no one else gets it.
    if (new URL(request.url, location.href).origin === location.origin) {
      request.headers[csrfHeader] = csrfToken;
    }
    return request;
  },
});
