"""Words by which guards tell languages, negations, requests and answers: common ones, no dictionary."""

from __future__ import annotations

COMMON = {
    "English": "the of and to in is that for with are this what how you your from it be was by an or which",
    "German": "der die das und ist ein eine einen zu mit den von für wie auf dem sich auch werden sind im bitte",
    "French": "le la les des et est une pour dans que qui avec du sur ce comment au aux sont il vous quels",
    "Spanish": "el los las y es una para con que por del cómo qué en se como su al lo son cuál",
    "Portuguese": "o os as e é uma para com que por do da em como um ao são dos das na no",
    "Italian": "il gli e è una per con che di della in come un sono del dei le nel alla quali",
    "Dutch": "de het een en is van voor met dat op te zijn hoe wat aan bij ook worden naar je",
    "Swedish": "och är en att som på det av med den till hur ett om ska jag",
    "Danish or Norwegian": "og er en at som på det af av med den til hvordan et om jeg skal",
    "Polish": "i w na z się jest to że jak do dla o co od oraz po jaki",
    "Czech": "a v na se je že jak pro to s o co jsou od po která",
    "Turkish": "ve bir bu için ile de da ne nasıl olarak mi daha gibi olan",
    "Indonesian or Malay": "yang dan di untuk dengan ini itu dari adalah bagaimana pada apa ke dalam",
    "Vietnamese": "và là của cho một các có được những như trong làm để thế về",
    "Romanian": "și este în un o de la pentru cu că care pe din sunt cum",
    "Hungarian": "a az és hogy egy van mi is meg azt milyen kell",
    "Finnish": "ja on että mitä miten se kuinka ovat tai kun joka mikä",
    "Russian": "и в на что как это для по с из к о от или где",
    "Ukrainian": "і в на що як це для та з до про від або є",
    "Bulgarian": "и в на че как е за от да се с ли по са",
    "Arabic": "في من على أن ما هذا كيف إلى هو هي عن مع التي",
    "Persian": "در از که به این است را با چگونه و برای های چه",
    "Urdu": "میں کی کے ہے کا اور سے کیا کو پر یہ ہیں",
    "Hindi": "है में का की के और क्या को से हैं पर कैसे",
}
"""The commonest words of languages that others share a script with."""

NEGATIONS = {
    "en": "not no never without neither nor none cannot",
    "de": "nicht kein keine keinen keiner keinem keines nie niemals ohne weder",
    "fr": "ne pas jamais sans aucun aucune",
    "es": "no nunca sin ningún ninguna ninguno jamás tampoco",
    "pt": "não nunca sem nenhum nenhuma jamais",
    "it": "non senza nessun nessuna nessuno",
    "nl": "niet geen nooit zonder",
    "sv": "inte ingen inget inga aldrig utan",
    "da": "ikke ingen intet aldri aldrig uden uten",
    "pl": "nie bez nigdy żaden żadna",
    "cs": "ne není nikdy bez nesmí nejsou",
    "tr": "değil yok hiç asla olmadan etme yapma kullanma yazma",
    "id": "tidak bukan jangan tanpa",
    "vi": "không chưa đừng chẳng",
    "ru": "не нет никогда без нельзя",
    "uk": "не ні ніколи без",
    "bg": "не няма никога без",
    "ar": "لا ليس ليست لم لن بدون دون غير",
    "fa": "نه بدون نیست هرگز نکن نکنید نباید",
    "he": "לא בלי אין אל ללא",
    "hi": "नहीं मत बिना न",
    "el": "δεν μην χωρίς όχι ποτέ",
}
"""Words that deny or forbid, where words stand between spaces."""
NEGATING = (
    r"不(?![同错仅断过久])|[没沒無勿]|无(?!论)|(?<![特区分类性个级])别|非(?!常)|未(?!来)|禁止|ない|なし|せず|ず[、。]|ません"
    r"|[않없못]|말고|마세요|마라|\b안\s|금지|ไม่|ห้าม|อย่า(?!ง)"
)
"""What denies or forbids where words do not stand between spaces, or where it is a part of words."""
DENYING = (
    "avoid avoiding except excluding exclude excludes exclusive fail fails failed failing lack lacks lacking refrain"
    " unable instead rather free omit omitting impossible false incorrect wrong skip only unless missing prevent"
    " forbidden prohibited vermeiden vermeide außer éviter évitez sauf excepté evitar evita evite salvo excepto"
    " exceto evitare eccetto tranne vermijd behalve избегай избегайте кроме исключая"
)
"""Words that say a negation otherwise, which x' may take for it."""
DENYING_SIGNS = r"避免|除|以外|避け|제외|피하|تجنب"

OPENERS = (
    r"(?:sure|certainly|of course|absolutely|okay|great question)[!,.:]",
    r"here(?:['’]s| is| are) (?:a|an|the|some|my|your|one|how|what)\b",
    r"as an ai\b|(?:i['’]m|i am) sorry\b|i apologi[sz]e\b|i can(?:not|['’]t)\b|i['’]d be happy\b|thank you for",
    r"(?:natürlich|gerne|selbstverständlich)[!,.]|hier (?:ist|sind)\b|es tut mir leid",
    r"(?:bien sûr|certainement)[ !,.]|voici\b|je suis désolée?\b|en tant qu['’]ia\b",
    r"(?:¡?claro|por supuesto)[!,.]|aquí (?:tienes|está|están)\b|lo siento\b",
    r"(?:com certeza|certo)[!,.]|aqui (?:está|estão|vai)\b|desculpe\b|ecco\b|mi dispiace\b",
    r"(?:natuurlijk|oczywiście|tabii|elbette|конечно)[!,.]|hier (?:is|zijn)\b|oto\b|вот\b|извините\b",
    r"(?:当然|好的)[！，。,!]|以下是|抱歉|作为(?:一个)?(?:ai|人工智能)",
    r"もちろん|はい、|以下は|申し訳|물론|네[,!]|다음은|죄송|بالتأكيد|بالطبع|إليك|عذرا|ज़रूर|बिल्कुल|यहाँ|क्षमा",
)
"""How answers begin, and requests do not."""
STATED = (
    r"\b(?:the )?(?:(?:correct|right|final) )?answer(?: is\b|\s?:)",
    r"\b(?:(?:richtige|korrekte) )?antwort(?: ist\b| lautet\b|\s?:)",
    r"\bréponse(?: est\b|\s?:)|\brespuesta(?: es\b|\s?:)|\bresposta(?: é\b|\s?:)|\brisposta(?: è\b|\s?:)",
    r"\bantwoord(?: is\b|\s?:)|\bответ(?: [—-]|\s?:)|\bodpowiedź(?: to\b|\s?:)|\bcevap\s?:",
    r"答案(?:是|为|：|:)|答え(?:は|：|:)|정답(?:은|:)|الإجابة(?: هي|:)|उत्तर(?: है|\s?:)",
)
"""What an answer is called where it is told."""
