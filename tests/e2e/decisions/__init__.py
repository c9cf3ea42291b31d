"""What a person decides about a task, with one slot: a silent source keeps all others pending."""
