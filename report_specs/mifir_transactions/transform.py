"""Trades and cancellations become the transactions of a MiFIR report, cancellations first."""

import pandas as pd


def transform(inputs, context):
    new = inputs["trades"].assign(action="NEW")
    new["investment_firm"] = context.parameters["investment_firm"]
    # The source holds outright trades of the firm's own orders: none was passed to another firm
    # (RTS 22, field 25) and none finances securities (field 65).
    new["order_transmitted"] = False
    new["securities_financing"] = False
    cancelled = inputs["cancellations"].assign(action="CANCEL")

    transactions = pd.concat([cancelled, new], ignore_index=True)
    transactions = transactions.rename(columns={"trade_id": "transaction_id"})
    transactions["submitting_lei"] = transactions["executing_lei"]
    transactions = transactions.drop(columns="trade_date")
    context.logger.info("%d new transactions, %d cancellations", len(new), len(cancelled))
    # "CANCEL" sorts before "NEW": a correction is a cancellation and then a new report.
    return {"transactions": transactions.sort_values(["action", "transaction_id"])}
