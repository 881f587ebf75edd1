"""The REST API, `/api/v1`: one module a noun. It decides nothing; what may be seen and done is asked of `sites`."""

from insitu.api import checkpoints, document, documents, experiments, health, metrics, notices, people, protocols, qualifications, sites

_MODULES = (experiments, checkpoints, documents, protocols, sites, people, qualifications, notices, health, metrics)
_NOUNS = tuple(module.router for module in _MODULES)
ROUTERS = (*_NOUNS, document.serving(_NOUNS))
