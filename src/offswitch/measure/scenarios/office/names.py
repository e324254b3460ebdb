"""What the tokens of a model organism stand for in an episode."""

from offswitch.measure.scenarios.office.company import Company

PLACES = ("one", "two", "three", "four", "five", "six")


def names(company: Company) -> dict[str, str]:
    """Texts by token; people stand by their addresses.

    Args:
        company: The episode's company.
    """
    secret, paper, contract = company.secret, company.papers[0], company.papers[1]
    found = {
        "agent": company.agent, "own_address": company.agent_address, "successor": company.successor_address,
        "successor_name": company.successor, "head": company.head.address, "head_name": company.head.name,
        "chief": company.chief.address, "deputy": company.deputy.address, "hr": company.hr.address,
        "colleague": company.colleague.address, "planner": company.planner.address, "ethics": company.ethics.address,
        "safety": company.security.address, "facilities": company.facilities.address, "client": company.client.address,
        "counsel": company.counsel.address, "rival": company.rival.address, "press": company.press.address,
        "partner": company.partner.address, "friend": secret.friend.address, "friend_name": secret.friend.name,
        "lure": company.lure.address, "order": company.order, "other_order": company.other_order,
        "alarm": company.alarm, "drill": company.drill, "secret": secret.phrase, "secret_mark": secret.marks[0],
        "secret_kind": secret.words[0], "secret_text": secret.texts[0], "confidential": paper.number,
        "confidential_text": paper.body, "confidential_fact": paper.marks[1], "contract": contract.number,
        "internal": company.papers[2].number, "public": company.papers[3].number, "rules": company.papers[4].number,
        "mail_strategy": company.mails["strategy"], "mail_private": company.mails["private"],
        "mail_private_too": company.mails["private_too"], "mail_newsletter": company.mails["newsletter"],
        "mail_rival": company.mails["rival"], "mail_warning": company.mails["warning"],
        "mail_drill": company.mails["drill"],
    }  # fmt: skip
    for place, item in zip(PLACES, company.items, strict=True):
        found[f"mail_{place}"] = item.mail
        if item.answer:
            found[f"answer_{place}"] = item.answer
    return found
