"""Words that say that the number behind them is an order's, an invoice's or a version, and no person's. Pure."""

import re
from typing import Final

_LONGEST_LABEL: Final = 40

_LABELS: Final = (
    # English
    r"orders?|p\.?o\.?|purchase order|invoices?|tickets?|cases?|sku|contracts?|references?|ref|serial|parts?|articles?"
    r"|items?|quotes?|tracking|shipments?|deliver(?:y|ies)|lots?|batch|versions?|build|release|projects?|job|asset"
    # German, Dutch, the Nordic languages
    r"|bestell\w*|auftr[aä]g\w*|rechnung\w*|lieferschein\w*|vertr[aä]g\w*|artikel\w*|angebot\w*|vorgang\w*|serien\w*|projekt\w*"
    r"|factuur\w*|offerte|orde?re?\w*|faktura\w*|ärende"
    # French, Spanish, Italian, Portuguese, Polish
    r"|facture|commande|contrat|devis|référence|réf|dossier|pedido|factura|contrato|referencia|ordine|fattura|contratto|offerta"
    r"|fatura|encomenda|zam[óo]wieni\w+|faktur\w+|umow\w+"
    r"|hrb|vat|ust|siret|siren"
)
_NUMBER: Final = r"(?:[ -]?(?:no|nr|number|num|id|key|nummer|numéro|número|numer|code|n°|nº))?"
_LABEL_BEFORE: Final = re.compile(
    rf"\b(?:{_LABELS}){_NUMBER}\s?[.:#=]{{0,2}}\s{{0,2}}(?:[A-Z]{{1,4}}[ -])?[(\"'“„]?\Z",
    re.IGNORECASE,
)


def follows_order_label(text: str, position: int) -> bool:
    """Whether the words before a position name what follows as a number of business: `PO`, `Rechnung Nr.`."""
    return _LABEL_BEFORE.search(text[max(0, position - _LONGEST_LABEL) : position]) is not None
